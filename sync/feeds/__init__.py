"""
Reads the change feeds of DICOM services: entries become changes, and a cursor keeps the position.

    DICOM service   feed, by windows of time  ->  entries  ->  the highest sequence of each instance  ->  ingest
    Orthanc         changes, by sequence      ->  ids      ->  inspect each                           ->  ingest

`reader` runs a feed for a timer or an event: under a lease, a page at a time; the cursor moves only over entries that
are done. `replay_window`, `changed_instances` and `deleted_instances` return past changes again; they need no cursor.
"""

from sync.feeds.dicom_windows import next_timestamp
from sync.feeds.reader import read_dicom_feed, read_orthanc_feed, wake
from sync.feeds.replay_window import changed_instances, deleted_instances, replay_window

__all__ = [
    "changed_instances",
    "deleted_instances",
    "next_timestamp",
    "read_dicom_feed",
    "read_orthanc_feed",
    "replay_window",
    "wake",
]
