"""Where a study opens in an image viewer. Pure."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from sync.config import HEALTH_HOSTS, Settings

NO_VIEWER = "none"
"""Value of ``DICOM_SYNC_VIEWER_URL`` for no link at all."""

_OHIF = "{scheme}://{host}/ohif/viewer?StudyInstanceUIDs={{study}}"
"""Path of OHIF beside a DICOMweb root. Source: Orthanc's plugin for OHIF, ``RouterBasename``."""


def viewer_address(study_instance_uid: str, settings: Settings) -> str:
    """
    Return the address of a study in the viewer; empty for no link.

    If no address is configured, it is OHIF on the host of the DICOMweb root: a host without the images never learns the
    UIDs.
    """
    template = settings.viewer_url or _default(settings.dicomweb_url)
    return "" if template == NO_VIEWER else template.replace("{study}", quote(study_instance_uid, safe=""))


def _default(dicomweb_url: str) -> str:
    root = urlsplit(dicomweb_url)
    if not root.hostname or root.hostname.endswith(HEALTH_HOSTS):  # Azure's DICOM services serve no viewer
        return ""
    return _OHIF.format(scheme=root.scheme, host=root.netloc)
