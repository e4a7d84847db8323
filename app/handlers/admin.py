"""Access for operators only."""

from aiohttp import web

from app.access.principal import PRINCIPAL, Scope


def require_admin(request: web.Request) -> str:
    """Return the name of the operator who asks, whom the table of routes has let in."""
    principal = request[PRINCIPAL]
    if not principal.may(Scope.ADMIN):
        raise PermissionError("the table of routes lets others in, too")
    return principal.name
