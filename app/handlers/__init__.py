"""HTTP handlers, one module for each part of the API; each exports its ``routes``."""
