r"""The write-ahead log: events are durable here before anybody is told that they were accepted.

**Constraints.**

- A record is acknowledged only after an fsync that covers it, and a file counts only once its name was synced, too.
- Sequence numbers of a shard start at 1, rise by one, and have no gaps. One that was acknowledged is never given out
  again.
- A file of which a write or a sync failed is never written again, because the kernel may have dropped its pages.
- Damage costs the records that it hit, and no others; the file that has it is kept.
- A segment goes only when every record in it is done with, and the journal says why.

**Files**, in ``<data dir>/wal/shard-NNN/``; ``docs/architecture/DATA_DIRECTORY.md`` tells each to the byte::

    000000000007.wal    a segment: a header, then records; its name is its place in the order of all that ever were
    checkpoint.json     the number up to which all is done with, and how many of these ended how
    confirmed           the journal: which attempt brought which numbers into ClickHouse, for the audit
    damaged/            segments with damage in their middle, set aside

**A segment**, little-endian::

    header    8 bytes magic FFWAL01\n │ 4 shard │ 8 first sequence number │ 4 CRC-32 of these
    record    4 bytes length │ 8 sequence number │ 4 CRC-32 of these and the payload │ payload: one row of JSON

Records at or beyond the first number of the *following* segment were never acknowledged, and are passed over.

**A worked example.** Shard 3 holds 1 to 100, all acknowledged; 1 to 80 are confirmed.

1. A request brings 5 rows. The committer writes 101 to 105 into segment 7; the disk is full in the middle of 103.
2. The write raises. Segment 7 is abandoned, the request is answered 503, the next number is 101 again.
3. Segment 8 is begun with first number 101, and its header and name are synced. A smaller request becomes record 101.
4. The process is killed. The start reads segment 7 up to 100, because segment 8 begins at 101, then segment 8: so the
   old 101 and 102 are passed over, and the torn one behind them is no damage.
5. The checkpoint says 80: rows 81 to 101 are pending, and are sent to ClickHouse again under new batch numbers. Some
   are there already, and count once by their key.
6. The ledger shows them whole. The journal notes the attempts, the checkpoint moves to 101, segment 7 is removed.

**The modules**, each used by those above it::

    committer.py    one thread for all logs: collects what is queued, writes, syncs, reports
    admission.py    whether there is room for more; asked before anything is appended
    log.py          one shard's log: recovery, append, sync, abandon, truncate
    reader.py       reads a log in order while it grows
    segments.py     the list of segment files, what is done with them
    journal.py, checkpoint.py    what is done with, and why
    segment.py, record.py        one file; one record
    files.py        durable append, durable replace
    directory.py    the lock of the data directory, and its id
"""
