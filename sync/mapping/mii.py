"""
The parts of the German Medical Informatics Initiative in use: *Modul Bildgebung* 2027.0.0-ballot, extensions, codes.

They are the only published extensions for acquisition parameters in R4. A code is written with the URL of one of its
code systems only if the system contains it.
"""

from __future__ import annotations

from types import MappingProxyType

_ROOT = "https://www.medizininformatik-initiative.de/fhir/ext/modul-bildgebung/"
_EXTENSION = f"{_ROOT}StructureDefinition/mii-ex-bildgebung-"
_CODES = f"{_ROOT}CodeSystem/mii-cs-bildgebung-"

CT = f"{_EXTENSION}modalitaet-ct"
RADIOGRAPHY = f"{_EXTENSION}modalitaet-mg-cr-dx"
MR = f"{_EXTENSION}modalitaet-mr"
ULTRASOUND = f"{_EXTENSION}modalitaet-us"
PET = f"{_EXTENSION}modalitaet-pt"
NUCLEAR_MEDICINE = f"{_EXTENSION}modalitaet-nm"
CONTRAST = f"{_EXTENSION}kontrastmittel"
THICKNESS = f"{_EXTENSION}serie-schichtdicke"
INSTANCE_DETAILS = f"{_EXTENSION}instanz-details"
HEIGHT = f"{_EXTENSION}groesse"
WEIGHT = f"{_EXTENSION}gewicht"

SCANNING_SEQUENCES = MappingProxyType(dict.fromkeys(("SE", "IR", "GR", "EP", "RM"), f"{_CODES}scanning-sequence"))
SEQUENCE_VARIANTS = MappingProxyType(
    dict.fromkeys(("SK", "MTC", "SS", "TRSS", "SP", "MP", "OSP", "NONE"), f"{_CODES}scanning-sequence-variant")
)
SERIES_TYPES = MappingProxyType(
    dict.fromkeys(("STATIC", "DYNAMIC", "GATED", "IMAGE", "REPROJECTION"), f"{_CODES}series-type")
)
TRANSDUCER_TYPES = MappingProxyType(
    dict.fromkeys(
        (
            *("SECTOR_PHASED", "SECTOR_MECH", "SECTOR_ANNULAR", "LINEAR", "CURVED_LINEAR", "SINGLE_CRYSTAL"),
            *("SPLIT_XTAL_CWD", "IV_PHASED", "IV_ROT_XTAL", "IV_ROT_MIRROR", "ENDOCAV_PA", "ENDOCAV_MECH"),
            *("ENDOCAV_CLA", "ENDOCAV_AA", "ENDOCAV_LINEAR", "VECTOR_PHASED"),
        ),
        f"{_CODES}transducer-type",
    )
)
IMAGE_TYPES = MappingProxyType(
    dict.fromkeys(
        (
            *("ORIGINAL", "DERIVED", "PRIMARY", "SECONDARY", "AXIAL", "LOCALIZER"),
            *("DENSITYMAP", "DIFFUSIONMAP", "IMAGEADDITION", "MODULUSSUBTRACT", "MPR", "OTHER", "PHASEMAP"),
            *("PHASESUBTRACT", "PROJECTIONIMAGE", "T1MAP", "T2MAP", "VELOCITYMAP"),
            *("STATIC", "DYNAMIC", "GATED", "WHOLEBODY", "TOMO", "GATEDTOMO", "RECONTOMO", "RECONGATEDTOMO"),
            *("EMISSION", "TRANSMISSION"),
        ),
        f"{_CODES}instance-image-type",
    )
)
"""Code of DICOM -> code system. ``OTHER`` and the like are written beside the text, which holds all values."""
