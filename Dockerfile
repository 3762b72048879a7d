# The same functions in a container, for Container Apps or Kubernetes: see docs/where-it-runs.md.
FROM mcr.microsoft.com/azure-functions/python:4-python3.13

ARG VERSION=unknown
LABEL org.opencontainers.image.title="DICOM–FHIR Sync" \
      org.opencontainers.image.description="Keeps a FHIR R4 service in step with a DICOM store" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}"

ENV AzureWebJobsScriptRoot=/home/site/wwwroot \
    AzureFunctionsJobHost__Logging__Console__IsEnabled=true

COPY requirements.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --require-hashes -r /tmp/requirements.txt && rm /tmp/requirements.txt

COPY host.json function_app.py /home/site/wwwroot/
COPY sync /home/site/wwwroot/sync
COPY insights /home/site/wwwroot/insights
