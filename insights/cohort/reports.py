"""
Assigns reports to studies, and records by which rule.

1. ``imagingStudy``: the report names the study.
2. ``accession``: both have the same accession number or order.
3. ``day``: same patient and day, with no other study and no other imaging report on that day.

Later rules skip a report that an earlier rule has assigned.
"""

from __future__ import annotations

from insights.cohort.days import first_day, last_day

REPORT_STUDY = f"""
imaging_report AS (
    SELECT r.id, any_value(w.patient_id) AS patient_id, any_value(r.accession) AS accession,
           any_value(r.request_accession) AS request_accession, any_value(r.service_request_id) AS service_request_id,
           any_value(coalesce(r.effective, r.effective_start, r.issued)) AS at, any_value(r.category) AS category
    FROM diagnostic_report AS r JOIN record_of AS w ON w.record_id = r.patient_id
    WHERE coalesce(r.status, '') NOT IN ('entered-in-error', 'cancelled', 'registered') GROUP BY r.id
),
patient_study AS (
    SELECT s.id, w.patient_id, s.accession, s.request_accession, s.service_request_id, s.started AS at
    FROM imaging_study AS s JOIN record_of AS w ON w.record_id = s.patient_id
    WHERE coalesce(s.status, '') NOT IN ('entered-in-error', 'cancelled')
),
by_reference AS (
    SELECT DISTINCT r.id AS report_id, s.id AS study_id, 'imagingStudy' AS found_by
    FROM report_study AS l JOIN imaging_report AS r ON r.id = l.report_id JOIN patient_study AS s ON s.id = l.study_id
),
by_number AS (
    SELECT DISTINCT r.id AS report_id, s.id AS study_id, 'accession' AS found_by
    FROM imaging_report AS r JOIN patient_study AS s ON s.patient_id = r.patient_id
     AND (coalesce(r.accession, r.request_accession) = coalesce(s.accession, s.request_accession)
          OR r.service_request_id = s.service_request_id)
    WHERE r.id NOT IN (SELECT report_id FROM by_reference)
),
loose_report AS (
    SELECT r.id, r.patient_id, {first_day("r.at")} AS day FROM imaging_report AS r
    WHERE r.id NOT IN (SELECT report_id FROM by_reference UNION ALL SELECT report_id FROM by_number)
      AND regexp_matches(coalesce(r.category, ''), '(^|[|])(RAD|IMG|LP29684-5|imaging)([|]|$)')
      AND {first_day("r.at")} = {last_day("r.at")}
),
day_study AS (
    SELECT s.id, s.patient_id, {first_day("s.at")} AS day FROM patient_study AS s
    WHERE {first_day("s.at")} = {last_day("s.at")}
),
by_day AS (
    SELECT min(r.id) AS report_id, min(s.id) AS study_id, 'day' AS found_by
    FROM loose_report AS r JOIN day_study AS s ON s.patient_id = r.patient_id AND s.day = r.day
    GROUP BY r.patient_id, r.day HAVING count(DISTINCT r.id) = 1 AND count(DISTINCT s.id) = 1
),
report_of AS (
    SELECT * FROM by_reference UNION ALL SELECT * FROM by_number UNION ALL SELECT * FROM by_day
)"""
"""Relations ``report_of`` (report_id, study_id, found_by), for `Question.with_relations`."""
