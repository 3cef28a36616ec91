"""CREATE EXTERNAL TABLE … STORED AS DELTATABLE: a table, its contract and how it is scanned, as one text."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Final

from delta_io import OptionError, ScanConfig, Table
from df_runtime._definitions import Definition
from df_runtime._lexer import tokens
from df_runtime._pointing import pointed_at
from df_runtime._secrets import PUBLIC_OPTIONS, masked
from df_runtime.errors import SqlError, SqlSyntaxError
from schema_spec import SpecError, TableDdl, parse_ddl

_OF_S3: Final = """
    access_key_id allow_http bucket bucket_name checksum_algorithm conditional_put
    container_authorization_token_file container_credentials_full_uri container_credentials_relative_uri
    copy_if_not_exists default_region disable_tagging endpoint endpoint_url endpoint_url_s3 endpoint_url_sts
    force_credential_load imdsv1_fallback metadata_endpoint profile region request_payer role_arn
    role_session_name s3_allow_unsafe_rename s3_express s3_locking_provider secret_access_key
    server_side_encryption session_token skip_signature sse_bucket_key_enabled sse_customer_key_base64
    sse_kms_key_id token unsigned_payload virtual_hosted_style_request web_identity_token_file
"""
_OF_AZURE: Final = """
    access_key account_key account_name allow_http authority_host authority_id bearer_token client_id
    client_secret container_name disable_tagging endpoint fabric_cluster_identifier fabric_session_token
    fabric_token_service_url fabric_workload_host federated_token_file identity_endpoint msi_endpoint
    msi_resource_id object_id sas_key sas_token skip_signature storage_access_key storage_account_key
    storage_account_name storage_authority_host storage_authority_id storage_client_id storage_client_secret
    storage_endpoint storage_master_key storage_sas_key storage_sas_token storage_tenant_id storage_token
    storage_use_emulator tenant_id token use_azure_cli use_emulator use_fabric_endpoint
"""
_OF_GOOGLE: Final = """
    application_credentials base_url bucket bucket_name service_account service_account_key
    service_account_path skip_signature
"""
_OF_CLIENTS: Final = """
    allow_http allow_invalid_certificates connect_timeout default_content_type http1_only
    http2_keep_alive_interval http2_keep_alive_timeout http2_keep_alive_while_idle http2_max_frame_size
    http2_only max_retries pool_idle_timeout pool_max_idle_per_host proxy_ca_certificate proxy_excludes
    proxy_url randomize_addresses retry_timeout timeout user_agent
"""
# As deltalake and object_store take them: with the prefix of the store, or without.
_STORAGE_OPTIONS: Final = frozenset(
    [
        *_OF_CLIENTS.split(),
        *(
            prefix + name
            for store, names in (("aws_", _OF_S3), ("azure_", _OF_AZURE), ("google_", _OF_GOOGLE))
            for name in names.split()
            for prefix in ("", store)
        ),
    ]
)
_MOST_SUGGESTIONS: Final = 3
_LONGEST_NAME: Final = 5  # words of a.b.c


def read_external(definition: Definition) -> tuple[Table, ScanConfig]:
    """Tell the table of a statement with its contract, and how it is scanned.

    Raises
    ------
    SqlError
        The statement, or one of its options, is wrong.
    delta_io.DeltaIoError
        The table has no such place.
    """
    if len(tokens(definition.name)) > _LONGEST_NAME:
        raise _wrong(definition.query, "a name has at most three parts: catalog, schema and table.")
    ddl = _parsed(definition)
    scanned: dict[str, str] = {}
    stored: dict[str, str] = {}
    for key, value in ddl.options.items():
        if key.lower() in PUBLIC_OPTIONS:
            scanned[key] = value
        elif key.lower() in _STORAGE_OPTIONS:
            stored[key] = value
        else:
            raise _unknown(definition.query, key)
    try:
        scan = ScanConfig.from_options(scanned)
    except OptionError as error:
        raise _wrong(definition.query, str(error)) from None
    if not ddl.spec.columns:
        raise _wrong(definition.query, "its list of columns is empty. Leave it out to take the table's own.")
    spec = ddl.spec if definition.has_columns else None
    return Table(ddl.location, spec=spec, storage_options=stored or None), scan


def _parsed(definition: Definition) -> TableDdl:
    # A statement without columns takes those of the table; the parser of contracts knows none without.
    columns = "" if definition.has_columns else '("_" BIGINT) '
    try:
        return parse_ddl(f"CREATE EXTERNAL TABLE {definition.name} {columns}{definition.rest}")
    except SpecError as error:
        raise _wrong(definition.query, str(error)) from None


def _wrong(query: str, message: str) -> SqlError:
    head = message.rpartition(" [")[0] or message
    return SqlSyntaxError(f"The statement defines no table: {head}", query=masked(query))


def _unknown(query: str, key: str) -> SqlError:
    close = get_close_matches(key.lower(), sorted(PUBLIC_OPTIONS | _STORAGE_OPTIONS), n=_MOST_SUGGESTIONS)
    advice = f"Did you mean {' or '.join(close)}?" if close else "Options are those of the scan or the store."
    shown = masked(query)
    token = next(each for each in tokens(shown) if each.text == f"'{key}'")
    return pointed_at(SqlSyntaxError, f"Unknown option {key!r}", advice, shown, token)
