r"""The write-ahead log: events are durable here before anybody is told that they were accepted.

**Constraints.**

- A record is acknowledged only after an fsync that covers it (with ``wal_sync`` ``always``, the default), and a file
  counts only once its name was synced too.
- Sequence numbers of a shard start at 1, rise by one, and have no gaps. An acknowledged number is never given out
  again.
- A segment is never written again after a failed write or sync, because the kernel may have dropped its pages.
- What a start finds counts only once it is durable, because a killed process may have left it unsynced.
- Damage costs only the records that it hit; the damaged file is kept.
- A segment is removed only when every record in it is done with. The journal says why, unless the disk took no note.

**Files**, in ``<data dir>/wal/shard-NNN/``; ``docs/architecture/DATA_DIRECTORY.md`` describes each to the byte::

    000000000007.wal    a segment: a header, then records; its name is its number among all segments ever made
    checkpoint.json     the number up to which all is done with, and counts of how rows ended
    confirmed           the journal: which attempt brought which numbers into ClickHouse, for the audit
    damaged/            segments with damage in their middle, set aside

**A segment**, little-endian, format 2 (ADR-014; format 1, of the release before, is read)::

    header    8 bytes magic FFWAL02\n │ 4 shard │ 8 first sequence number │ 4 CRC-32 of these
    record    4 bytes length │ 8 sequence number │ 4 unproven │ 8 order │ 8 received │ 1 kind │ 1 flags
              │ 4 CRC-32 of these and the payload │ payload: one row of JSON

Sequence number minus *unproven* is the last number that was known to be durable when the record was written. So a
start can tell damage from a torn end, and knows which records it has to make durable itself before they count.

Records at or beyond the first number of the *following* segment were never acknowledged, and are passed over.

**A worked example.** Shard 3 holds 1 to 100, all acknowledged; 1 to 80 are confirmed.

1. A request brings 5 rows. The committer writes 101 to 105 into segment 7; the disk is full in the middle of 103.
2. The write raises. Segment 7 is abandoned, the request is answered 503, the next number is 101 again.
3. Segment 8 is begun with first number 101, and its header and name are synced. A smaller request becomes record 101.
4. The process is killed. The next start reads segment 7 up to 100, because segment 8 begins at 101, and then segment 8.
   The old 101 and 102 are passed over, and the torn 103 is no damage.
5. The checkpoint says 80, and 100 was the last number known to be durable: 101 is written again in its place, and
   synced. Rows 81 to 101 are pending, and are sent to ClickHouse again under new batch numbers. Rows
   that are there already count once, by their key.
6. The ledger shows the batches whole. The journal notes the attempts, the checkpoint moves to 101, segment 7 is
   removed.

**The modules**; each is used by those above it::

    committer.py    one thread for all logs: collects what is queued, writes, syncs, reports
    reports.py      who waits for the committer, and what each is told
    admission.py    whether there is room for more; asked before anything is appended
    downgrade.py    a stopped log written as the release before reads it
    log.py          one shard's log: append, sync, abandon, truncate; its start
    recovery.py     what a start reads
    reader.py       reads a log in order while it grows
    segments.py     the list of segment files, and what is known of each
    journal.py, checkpoint.py    which numbers are done with, and why
    segment.py, record.py        one file; one record
    files.py        durable append, durable replace; what a start finds made durable
    directory.py    the lock of the data directory, its id, and the names of its shards
"""
