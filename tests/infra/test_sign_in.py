"""App Service authentication as it is deployed fits the app registration, the functions and what the code reads."""

import json

import azure.functions as func
import pytest

from function_app import app
from sync.operators.access import ROLE
from sync.web.rendering import file
from tests.infra.reviewed import choices, of_type
from tests.infra.templates import INFRA, parameters
from tests.infra.test_templates import app_settings

SIGN_IN = INFRA / "sign-in"
SECRETLESS = "OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID"
"""App Service, "Use a managed identity instead of a secret": name of the setting, and of the secret's setting too."""


@pytest.fixture
def said():
    (config,) = (
        one for one in of_type("Microsoft.Web/sites/config", "sign-in") if one["id"].endswith("/authsettingsV2")
    )
    return config["properties"]


def test_a_user_who_is_not_signed_in_is_sent_to_sign_in_over_https(said):
    assert said["platform"] == {"enabled": True, "runtimeVersion": "~1"}
    assert said["globalValidation"]["requireAuthentication"] is True
    assert said["globalValidation"]["unauthenticatedClientAction"] == "RedirectToLoginPage"
    assert said["httpSettings"] == {"requireHttps": True}


def test_open_are_the_functions_that_ask_for_no_key_and_only_those(said):
    open_functions = {
        trigger["route"]
        for function in app.get_functions()
        for trigger in json.loads(function.get_function_json())["bindings"]
        if trigger["type"] == "httpTrigger" and trigger["authLevel"] == func.AuthLevel.ANONYMOUS.value.upper()
    }
    assert open_functions == {"health", "dashboard/static/{name}"}
    paths = {f"/api/{route}".replace("{name}", "*") for route in open_functions}
    assert set(said["globalValidation"]["excludedPaths"]) == paths


def test_no_secret_is_kept_but_the_identity_vouches_for_the_app(said):
    registration = said["identityProviders"]["azureActiveDirectory"]["registration"]
    assert registration["clientSecretSettingName"] == SECRETLESS
    assert app_settings("sign-in")[SECRETLESS] == app_settings("sign-in")["AZURE_CLIENT_ID"]
    assert said["login"]["tokenStore"]["enabled"] is False


def test_operators_are_asked_for_their_role_as_soon_as_sign_in_is_on():
    for choice in choices():
        signs_in = any(
            resource["id"].endswith("/authsettingsV2") for resource in of_type("Microsoft.Web/sites/config", choice)
        )
        assert app_settings(choice)["DICOM_SYNC_OPERATORS"] == ("entra" if signs_in else "")
        assert signs_in == (choice == "sign-in")
    assert parameters()["entraClientId"] == "''"


def test_the_app_registration_has_the_role_that_the_code_asks_for():
    roles = {role["value"]: role for role in json.loads((SIGN_IN / "app-roles.json").read_text())}
    assert ROLE in roles
    assert all(set(role["allowedMemberTypes"]) == {"User", "Application"} for role in roles.values())
    assert len({role["id"] for role in roles.values()}) == len(roles)
    page = (INFRA.parent / "docs" / "sign-in.md").read_text()
    for name, role in roles.items():
        assert f"| `{name}` | `{role['id']}` |" in page


def test_the_scope_that_azure_cli_may_ask_for_is_the_one_that_there_is():
    (scope,) = json.loads((SIGN_IN / "scope.json").read_text())["api"]["oauth2PermissionScopes"]
    (client,) = json.loads((SIGN_IN / "azure-cli.json").read_text())["api"]["preAuthorizedApplications"]
    assert client["delegatedPermissionIds"] == [scope["id"]]


def test_tokens_are_of_the_version_whose_issuer_is_trusted(said):
    assert json.loads((SIGN_IN / "scope.json").read_text())["api"]["requestedAccessTokenVersion"] == 2
    issuer = said["identityProviders"]["azureActiveDirectory"]["registration"]["openIdIssuer"]
    assert issuer == "https://login.microsoftonline.com/22222222-2222-2222-2222-222222222222/v2.0"


def test_the_files_that_stay_open_are_there():
    assert file("dashboard.css").status == file("dashboard.js").status == 200
