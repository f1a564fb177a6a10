--
-- PostgreSQL database dump
--



SELECT pg_catalog.set_config('search_path', '', false);



--
-- Name: alembic_version; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);


--
-- Name: audit_events; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.audit_events (
    id character varying NOT NULL,
    org_id character varying NOT NULL,
    sandbox_name character varying,
    at bigint NOT NULL,
    account_id character varying NOT NULL,
    client_id character varying NOT NULL,
    remote character varying NOT NULL,
    request_id character varying NOT NULL,
    action character varying NOT NULL,
    resource_type character varying NOT NULL,
    resource_id character varying NOT NULL,
    resource_name character varying,
    before json,
    after json
);


--
-- Name: batch_files; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.batch_files (
    batch_id character varying NOT NULL,
    name character varying NOT NULL,
    complete boolean NOT NULL,
    size bigint NOT NULL,
    total bigint,
    received json NOT NULL,
    updated_at bigint NOT NULL
);


--
-- Name: batches; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.batches (
    id character varying NOT NULL,
    dataset_id character varying NOT NULL,
    status character varying NOT NULL,
    snapshot_id bigint,
    rows bigint NOT NULL,
    bytes bigint NOT NULL,
    created_at bigint NOT NULL,
    completed_at bigint,
    created_client character varying NOT NULL,
    org_id character varying DEFAULT ''::character varying NOT NULL,
    sandbox_id character varying DEFAULT ''::character varying NOT NULL,
    created_by character varying DEFAULT ''::character varying NOT NULL,
    updated_by character varying DEFAULT ''::character varying NOT NULL,
    updated_client character varying DEFAULT ''::character varying NOT NULL,
    version character varying DEFAULT ''::character varying NOT NULL,
    updated_at bigint DEFAULT '0'::bigint NOT NULL,
    input_rows bigint DEFAULT '0'::bigint NOT NULL,
    input_bytes bigint DEFAULT '0'::bigint NOT NULL,
    failed_rows bigint DEFAULT '0'::bigint NOT NULL,
    fence bigint DEFAULT '0'::bigint NOT NULL,
    input_format json DEFAULT '{}'::json NOT NULL,
    tags json DEFAULT '{}'::json NOT NULL,
    replaces json DEFAULT '[]'::json NOT NULL,
    errors json DEFAULT '[]'::json NOT NULL,
    external_id character varying,
    error_diagnostics boolean DEFAULT false NOT NULL,
    failed_percentage double precision DEFAULT '0'::double precision NOT NULL,
    started_at bigint,
    lease_owner character varying,
    lease_until bigint,
    beat bigint DEFAULT '0'::bigint NOT NULL,
    evolve boolean DEFAULT false NOT NULL,
    content_hash character varying,
    notes json DEFAULT '[]'::json NOT NULL,
    rewrites boolean DEFAULT false NOT NULL
);


--
-- Name: clients; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.clients (
    id character varying NOT NULL,
    org_id character varying NOT NULL,
    name character varying NOT NULL,
    account_id character varying NOT NULL,
    secret_hash character varying,
    created_at bigint NOT NULL,
    revoked_at bigint,
    kind character varying DEFAULT 'user'::character varying NOT NULL,
    rotated_at bigint
);


--
-- Name: connections; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.connections (
    connection_spec_id character varying NOT NULL,
    auth_spec_name character varying,
    auth_public json,
    auth_sealed bytea,
    encryption json,
    name character varying NOT NULL,
    description character varying,
    state character varying NOT NULL,
    id character varying NOT NULL,
    org_id character varying NOT NULL,
    sandbox_id character varying NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    created_by character varying NOT NULL,
    updated_by character varying NOT NULL,
    created_client character varying NOT NULL,
    updated_client character varying NOT NULL,
    version character varying NOT NULL,
    address character varying
);


--
-- Name: datasets; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.datasets (
    name character varying NOT NULL,
    description character varying,
    table_name character varying NOT NULL,
    schema_ref json,
    tags json NOT NULL,
    id character varying NOT NULL,
    org_id character varying NOT NULL,
    sandbox_id character varying NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    created_by character varying NOT NULL,
    updated_by character varying NOT NULL,
    created_client character varying NOT NULL,
    updated_client character varying NOT NULL,
    version character varying NOT NULL,
    file_description json,
    classification json,
    error_diagnostics boolean DEFAULT false NOT NULL,
    evolves boolean DEFAULT false NOT NULL,
    declared json,
    rewrites bigint DEFAULT '0'::bigint NOT NULL
);


--
-- Name: destination_health; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.destination_health (
    address character varying NOT NULL,
    answered_at bigint,
    away_since bigint,
    noted_at bigint,
    next_at bigint,
    probing_until bigint,
    failures bigint DEFAULT '0'::bigint NOT NULL,
    reason json,
    probe_run_id character varying
);


--
-- Name: flows; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.flows (
    flow_spec_id character varying NOT NULL,
    source_connection_id character varying NOT NULL,
    target_connection_id character varying NOT NULL,
    schedule json NOT NULL,
    next_run_s bigint,
    last_operation json NOT NULL,
    last_run_id character varying,
    last_run_state character varying,
    last_run_started_at bigint,
    last_run_completed_at bigint,
    name character varying NOT NULL,
    description character varying,
    state character varying NOT NULL,
    id character varying NOT NULL,
    org_id character varying NOT NULL,
    sandbox_id character varying NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    created_by character varying NOT NULL,
    updated_by character varying NOT NULL,
    created_client character varying NOT NULL,
    updated_client character varying NOT NULL,
    version character varying NOT NULL,
    policy json,
    failures bigint DEFAULT '0'::bigint NOT NULL,
    failing_since bigint,
    ends_logged json
);


--
-- Name: labels; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.labels (
    entity_id character varying NOT NULL,
    label character varying NOT NULL
);


--
-- Name: landing_zone_keys; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.landing_zone_keys (
    id character varying NOT NULL,
    sandbox_id character varying NOT NULL,
    type character varying NOT NULL,
    sealed bytea NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint,
    revoked_at bigint,
    client_id character varying,
    deletes boolean
);


--
-- Name: organisations; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.organisations (
    id character varying NOT NULL,
    name character varying NOT NULL,
    created_at bigint NOT NULL
);


--
-- Name: role_subjects; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.role_subjects (
    role_id character varying NOT NULL,
    client_id character varying NOT NULL
);


--
-- Name: roles; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.roles (
    id character varying NOT NULL,
    org_id character varying NOT NULL,
    name character varying NOT NULL,
    description character varying NOT NULL,
    permissions json NOT NULL,
    sandboxes json NOT NULL,
    labels json NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    created_by character varying NOT NULL,
    updated_by character varying NOT NULL
);


--
-- Name: run_datasets; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.run_datasets (
    run_id character varying NOT NULL,
    dataset_id character varying NOT NULL,
    dataset_name character varying NOT NULL,
    kind character varying NOT NULL,
    from_snapshot bigint,
    to_snapshot bigint,
    schema json,
    folder character varying NOT NULL,
    input_files bigint NOT NULL,
    input_rows bigint NOT NULL,
    input_bytes bigint NOT NULL,
    deleted_rows bigint NOT NULL,
    error json,
    "position" bigint,
    taken_over_by character varying
);


--
-- Name: run_parts; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.run_parts (
    run_id character varying NOT NULL,
    number bigint NOT NULL,
    dataset_id character varying NOT NULL,
    key character varying NOT NULL,
    slices json NOT NULL,
    input_rows bigint NOT NULL,
    input_bytes bigint NOT NULL,
    rows bigint,
    bytes bigint,
    sha256 character varying,
    finished_at bigint,
    losses json,
    intended_at bigint,
    token character varying,
    uri character varying,
    "left" json
);


--
-- Name: runs; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.runs (
    flow_id character varying NOT NULL,
    flow_spec_id character varying NOT NULL,
    source_connection_id character varying NOT NULL,
    target_connection_id character varying NOT NULL,
    trigger character varying NOT NULL,
    scheduled_at bigint NOT NULL,
    dataset_ids json NOT NULL,
    full_export boolean NOT NULL,
    moves_position boolean NOT NULL,
    status character varying NOT NULL,
    cancel_requested boolean NOT NULL,
    parent_run_id character varying,
    fence bigint NOT NULL,
    lease_owner character varying,
    planned_at bigint,
    started_at bigint,
    completed_at bigint,
    location character varying,
    manifest json,
    errors json NOT NULL,
    warnings json NOT NULL,
    id character varying NOT NULL,
    org_id character varying NOT NULL,
    sandbox_id character varying NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    created_by character varying NOT NULL,
    updated_by character varying NOT NULL,
    created_client character varying NOT NULL,
    updated_client character varying NOT NULL,
    version character varying NOT NULL,
    params json,
    beat bigint DEFAULT '0'::bigint NOT NULL,
    claims bigint DEFAULT '0'::bigint NOT NULL,
    pins json,
    folder character varying,
    verdict json,
    sweep_due bigint,
    manifest_key character varying,
    disposal character varying,
    removals bigint DEFAULT '0'::bigint NOT NULL,
    address character varying,
    held boolean DEFAULT false NOT NULL,
    not_before bigint,
    deferred_at bigint,
    waiting_since bigint,
    wait_until bigint,
    alerted_at bigint,
    wait_reason json,
    retries json
);


--
-- Name: sandboxes; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.sandboxes (
    id character varying NOT NULL,
    org_id character varying NOT NULL,
    name character varying NOT NULL,
    title character varying NOT NULL,
    type character varying NOT NULL,
    state character varying NOT NULL,
    is_default boolean NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    revision bigint DEFAULT '1'::bigint NOT NULL,
    created_by character varying DEFAULT 'system@AdobeID'::character varying NOT NULL,
    updated_by character varying DEFAULT 'system@AdobeID'::character varying NOT NULL
);


--
-- Name: signing_keys; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.signing_keys (
    id character varying NOT NULL,
    sealed bytea NOT NULL,
    created_at bigint NOT NULL,
    retired_at bigint
);


--
-- Name: source_connections; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.source_connections (
    connection_spec_id character varying NOT NULL,
    base_connection_id character varying NOT NULL,
    dataset_ids json NOT NULL,
    data json,
    name character varying NOT NULL,
    description character varying,
    state character varying NOT NULL,
    id character varying NOT NULL,
    org_id character varying NOT NULL,
    sandbox_id character varying NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    created_by character varying NOT NULL,
    updated_by character varying NOT NULL,
    created_client character varying NOT NULL,
    updated_client character varying NOT NULL,
    version character varying NOT NULL
);


--
-- Name: target_connections; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.target_connections (
    connection_spec_id character varying NOT NULL,
    base_connection_id character varying NOT NULL,
    params json NOT NULL,
    name character varying NOT NULL,
    description character varying,
    state character varying NOT NULL,
    id character varying NOT NULL,
    org_id character varying NOT NULL,
    sandbox_id character varying NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    created_by character varying NOT NULL,
    updated_by character varying NOT NULL,
    created_client character varying NOT NULL,
    updated_client character varying NOT NULL,
    version character varying NOT NULL,
    manifest_by_target boolean DEFAULT false NOT NULL
);


--
-- Name: watermarks; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.watermarks (
    flow_id character varying NOT NULL,
    dataset_id character varying NOT NULL,
    snapshot_id bigint NOT NULL,
    run_id character varying NOT NULL,
    updated_at bigint NOT NULL
);


--
-- Data for Name: alembic_version; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.alembic_version VALUES ('0013');


--
-- Data for Name: audit_events; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.audit_events VALUES ('audit_events.id 1', 'audit_events.org_id 1', 'audit_events.sandbox_name 1', 9007199254756493, 'audit_events.account_id 1', 'audit_events.client_id 1', 'audit_events.remote 1', 'audit_events.request_id 1', 'audit_events.action 1', 'audit_events.resource_type 1', 'audit_events.resource_id 1', 'audit_events.resource_name 1', '{"audit_events.before": 1}', '{"audit_events.after": 1}');
INSERT INTO public.audit_events VALUES ('audit_events.id 2', 'audit_events.org_id 2', 'audit_events.sandbox_name 2', 9007199254756494, 'audit_events.account_id 2', 'audit_events.client_id 2', 'audit_events.remote 2', 'audit_events.request_id 2', 'audit_events.action 2', 'audit_events.resource_type 2', 'audit_events.resource_id 2', 'audit_events.resource_name 2', '{"audit_events.before": 2}', '{"audit_events.after": 2}');


--
-- Data for Name: batch_files; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.batch_files VALUES ('batches.id 1', 'batch_files.name 1', true, 9007199254757283, 9007199254758333, '{"batch_files.received": 1}', 9007199254763363);
INSERT INTO public.batch_files VALUES ('batches.id 2', 'batch_files.name 2', false, 9007199254757284, 9007199254758334, '{"batch_files.received": 2}', 9007199254763364);


--
-- Data for Name: batches; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.batches VALUES ('batches.id 1', 'datasets.id 1', 'batches.status 1', 9007199254760553, 9007199254753343, 9007199254754263, 9007199254759113, 9007199254761403, 'batches.created_client 1', 'batches.org_id 1', 'batches.sandbox_id 1', 'batches.created_by 1', 'batches.updated_by 1', 'batches.updated_client 1', 'batches.version 1', 9007199254759263, 9007199254759893, 9007199254760813, 9007199254760423, 9007199254753883, '{"batches.input_format": 1}', '{"batches.tags": 1}', '{"batches.replaces": 1}', '["batches.errors"]', 'batches.external_id 1', true, 1.1, 9007199254759423, 'batches.lease_owner 1', 9007199254760483, 9007199254752873, true, 'batches.content_hash 1', '{"batches.notes": 1}', true);
INSERT INTO public.batches VALUES ('batches.id 2', 'datasets.id 2', 'batches.status 2', 9007199254760554, 9007199254753344, 9007199254754264, 9007199254759114, 9007199254761404, 'batches.created_client 2', 'batches.org_id 2', 'batches.sandbox_id 2', 'batches.created_by 2', 'batches.updated_by 2', 'batches.updated_client 2', 'batches.version 2', 9007199254759264, 9007199254759894, 9007199254760814, 9007199254760424, 9007199254753884, '{"batches.input_format": 2}', '{"batches.tags": 2}', '{"batches.replaces": 2}', '["batches.errors"]', 'batches.external_id 2', false, 2.1, 9007199254759424, 'batches.lease_owner 2', 9007199254760484, 9007199254752874, false, 'batches.content_hash 2', '{"batches.notes": 2}', false);


--
-- Data for Name: clients; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.clients VALUES ('clients.id 1', 'organisations.id 1', 'clients.name 1', 'clients.account_id 1', 'clients.secret_hash 1', 9007199254759353, 9007199254759593, 'clients.kind 1', 9007199254759623);
INSERT INTO public.clients VALUES ('clients.id 2', 'organisations.id 2', 'clients.name 2', 'clients.account_id 2', 'clients.secret_hash 2', 9007199254759354, 9007199254759594, 'clients.kind 2', 9007199254759624);


--
-- Data for Name: connections; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.connections VALUES ('connections.connection_spec_id 1', 'connections.auth_spec_name 1', '{"connections.auth_public": 1}', '\x636f6e6e656374696f6e732e617574685f7365616c65642031', '{"connections.encryption": 1}', 'connections.name 1', 'connections.description 1', 'connections.state 1', 'connections.id 1', 'connections.org_id 1', 'connections.sandbox_id 1', 9007199254763683, 9007199254763833, 'connections.created_by 1', 'connections.updated_by 1', 'connections.created_client 1', 'connections.updated_client 1', 'connections.version 1', 'connections.address 1');
INSERT INTO public.connections VALUES ('connections.connection_spec_id 2', 'connections.auth_spec_name 2', '{"connections.auth_public": 2}', '\x636f6e6e656374696f6e732e617574685f7365616c65642032', '{"connections.encryption": 2}', 'connections.name 2', 'connections.description 2', 'connections.state 2', 'connections.id 2', 'connections.org_id 2', 'connections.sandbox_id 2', 9007199254763684, 9007199254763834, 'connections.created_by 2', 'connections.updated_by 2', 'connections.created_client 2', 'connections.updated_client 2', 'connections.version 2', 'connections.address 2');


--
-- Data for Name: datasets; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.datasets VALUES ('datasets.name 1', 'datasets.description 1', 'datasets.table_name 1', '{"datasets.schema_ref": 1}', '{"datasets.tags": 1}', 'datasets.id 1', 'datasets.org_id 1', 'datasets.sandbox_id 1', 9007199254760383, 9007199254760533, 'datasets.created_by 1', 'datasets.updated_by 1', 'datasets.created_client 1', 'datasets.updated_client 1', 'datasets.version 1', '{"datasets.file_description": 1}', '{"datasets.classification": 1}', true, true, '{"datasets.declared": 1}', 9007199254758873);
INSERT INTO public.datasets VALUES ('datasets.name 2', 'datasets.description 2', 'datasets.table_name 2', '{"datasets.schema_ref": 2}', '{"datasets.tags": 2}', 'datasets.id 2', 'datasets.org_id 2', 'datasets.sandbox_id 2', 9007199254760384, 9007199254760534, 'datasets.created_by 2', 'datasets.updated_by 2', 'datasets.created_client 2', 'datasets.updated_client 2', 'datasets.version 2', '{"datasets.file_description": 2}', '{"datasets.classification": 2}', false, false, '{"datasets.declared": 2}', 9007199254758874);


--
-- Data for Name: destination_health; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.destination_health VALUES ('destination_health.address 1', 9007199254772213, 9007199254771153, 9007199254769023, 9007199254768113, 9007199254774603, 9007199254769153, '{"destination_health.reason": 1}', 'destination_health.probe_run_id 1');
INSERT INTO public.destination_health VALUES ('destination_health.address 2', 9007199254772214, 9007199254771154, 9007199254769024, 9007199254768114, 9007199254774604, 9007199254769154, '{"destination_health.reason": 2}', 'destination_health.probe_run_id 2');


--
-- Data for Name: flows; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.flows VALUES ('flows.flow_spec_id 1', 'source_connections.id 1', 'target_connections.id 1', '{"flows.schedule": 1}', 9007199254757933, '{"flows.last_operation": 1}', 'flows.last_run_id 1', 'flows.last_run_state 1', 9007199254767343, 9007199254769323, 'flows.name 1', 'flows.description 1', 'flows.state 1', 'flows.id 1', 'flows.org_id 1', 'flows.sandbox_id 1', 9007199254757363, 9007199254757513, 'flows.created_by 1', 'flows.updated_by 1', 'flows.created_client 1', 'flows.updated_client 1', 'flows.version 1', '{"flows.policy": 1}', 9007199254755593, 9007199254760553, '{"flows.ends_logged": 1}');
INSERT INTO public.flows VALUES ('flows.flow_spec_id 2', 'source_connections.id 2', 'target_connections.id 2', '{"flows.schedule": 2}', 9007199254757934, '{"flows.last_operation": 2}', 'flows.last_run_id 2', 'flows.last_run_state 2', 9007199254767344, 9007199254769324, 'flows.name 2', 'flows.description 2', 'flows.state 2', 'flows.id 2', 'flows.org_id 2', 'flows.sandbox_id 2', 9007199254757364, 9007199254757514, 'flows.created_by 2', 'flows.updated_by 2', 'flows.created_client 2', 'flows.updated_client 2', 'flows.version 2', '{"flows.policy": 2}', 9007199254755594, 9007199254760554, '{"flows.ends_logged": 2}');


--
-- Data for Name: labels; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.labels VALUES ('labels.entity_id 1', 'labels.label 1');
INSERT INTO public.labels VALUES ('labels.entity_id 2', 'labels.label 2');


--
-- Data for Name: landing_zone_keys; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.landing_zone_keys VALUES ('landing_zone_keys.id 1', 'sandboxes.id 1', 'landing_zone_keys.type 1', '\x6c616e64696e675f7a6f6e655f6b6579732e7365616c65642031', 9007199254769923, 9007199254770323, 9007199254770163, 'landing_zone_keys.client_id 1', true);
INSERT INTO public.landing_zone_keys VALUES ('landing_zone_keys.id 2', 'sandboxes.id 2', 'landing_zone_keys.type 2', '\x6c616e64696e675f7a6f6e655f6b6579732e7365616c65642032', 9007199254769924, 9007199254770324, 9007199254770164, 'landing_zone_keys.client_id 2', false);


--
-- Data for Name: organisations; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.organisations VALUES ('organisations.id 1', 'organisations.name 1', 9007199254765903);
INSERT INTO public.organisations VALUES ('organisations.id 2', 'organisations.name 2', 9007199254765904);


--
-- Data for Name: role_subjects; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.role_subjects VALUES ('roles.id 1', 'clients.id 1');
INSERT INTO public.role_subjects VALUES ('roles.id 2', 'clients.id 2');


--
-- Data for Name: roles; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.roles VALUES ('roles.id 1', 'organisations.id 1', 'roles.name 1', 'roles.description 1', '["roles.permissions"]', '{"roles.sandboxes": 1}', '{"roles.labels": 1}', 9007199254757303, 9007199254757453, 'roles.created_by 1', 'roles.updated_by 1');
INSERT INTO public.roles VALUES ('roles.id 2', 'organisations.id 2', 'roles.name 2', 'roles.description 2', '["roles.permissions"]', '{"roles.sandboxes": 2}', '{"roles.labels": 2}', 9007199254757304, 9007199254757454, 'roles.created_by 2', 'roles.updated_by 2');


--
-- Data for Name: run_datasets; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.run_datasets VALUES ('runs.id 1', 'datasets.id 1', 'run_datasets.dataset_name 1', 'run_datasets.kind 1', 9007199254768493, 9007199254766403, '{"run_datasets.schema": 1}', 'run_datasets.folder 1', 9007199254766243, 9007199254765523, 9007199254766443, 9007199254767193, '{"run_datasets.error": 1}', 9007199254763233, 'run_datasets.taken_over_by 1');
INSERT INTO public.run_datasets VALUES ('runs.id 2', 'datasets.id 2', 'run_datasets.dataset_name 2', 'run_datasets.kind 2', 9007199254768494, 9007199254766404, '{"run_datasets.schema": 2}', 'run_datasets.folder 2', 9007199254766244, 9007199254765524, 9007199254766444, 9007199254767194, '{"run_datasets.error": 2}', 9007199254763234, 'run_datasets.taken_over_by 2');


--
-- Data for Name: run_parts; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.run_parts VALUES ('runs.id 1', 9007199254757843, 'datasets.id 1', 'run_parts.key 1', '{"run_parts.slices": 1}', 9007199254762493, 9007199254763413, 9007199254755943, 9007199254756863, 'run_parts.sha256 1', 9007199254762853, '{"run_parts.losses": 1}', 9007199254762863, 'run_parts.token 1', 'run_parts.uri 1', '{"run_parts.left": 1}');
INSERT INTO public.run_parts VALUES ('runs.id 2', 9007199254757844, 'datasets.id 2', 'run_parts.key 2', '{"run_parts.slices": 2}', 9007199254762494, 9007199254763414, 9007199254755944, 9007199254756864, 'run_parts.sha256 2', 9007199254762854, '{"run_parts.losses": 2}', 9007199254762864, 'run_parts.token 2', 'run_parts.uri 2', '{"run_parts.left": 2}');


--
-- Data for Name: runs; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.runs VALUES ('runs.flow_id 1', 'runs.flow_spec_id 1', 'runs.source_connection_id 1', 'runs.target_connection_id 1', 'runs.trigger 1', 9007199254758543, '{"runs.dataset_ids": 1}', true, true, 'runs.status 1', true, 'runs.parent_run_id 1', 9007199254751143, 'runs.lease_owner 1', 9007199254756473, 9007199254756683, 9007199254758663, 'runs.location 1', '{"runs.manifest": 1}', '["runs.errors"]', '{"runs.warnings": 1}', 'runs.id 1', 'runs.org_id 1', 'runs.sandbox_id 1', 9007199254756373, 9007199254756523, 'runs.created_by 1', 'runs.updated_by 1', 'runs.created_client 1', 'runs.updated_client 1', 'runs.version 1', '{"runs.params": 1}', 9007199254750133, 9007199254752343, '{"runs.pins": 1}', 'runs.folder 1', '{"runs.verdict": 1}', 9007199254755623, 'runs.manifest_key 1', 'runs.disposal 1', 9007199254754743, 'runs.address 1', true, 9007199254756603, 9007199254757423, 9007199254759813, 9007199254756893, 9007199254756463, '{"runs.wait_reason": 1}', '{"runs.retries": 1}');
INSERT INTO public.runs VALUES ('runs.flow_id 2', 'runs.flow_spec_id 2', 'runs.source_connection_id 2', 'runs.target_connection_id 2', 'runs.trigger 2', 9007199254758544, '{"runs.dataset_ids": 2}', false, false, 'runs.status 2', false, 'runs.parent_run_id 2', 9007199254751144, 'runs.lease_owner 2', 9007199254756474, 9007199254756684, 9007199254758664, 'runs.location 2', '{"runs.manifest": 2}', '["runs.errors"]', '{"runs.warnings": 2}', 'runs.id 2', 'runs.org_id 2', 'runs.sandbox_id 2', 9007199254756374, 9007199254756524, 'runs.created_by 2', 'runs.updated_by 2', 'runs.created_client 2', 'runs.updated_client 2', 'runs.version 2', '{"runs.params": 2}', 9007199254750134, 9007199254752344, '{"runs.pins": 2}', 'runs.folder 2', '{"runs.verdict": 2}', 9007199254755624, 'runs.manifest_key 2', 'runs.disposal 2', 9007199254754744, 'runs.address 2', false, 9007199254756604, 9007199254757424, 9007199254759814, 9007199254756894, 9007199254756464, '{"runs.wait_reason": 2}', '{"runs.retries": 2}');


--
-- Data for Name: sandboxes; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.sandboxes VALUES ('sandboxes.id 1', 'organisations.id 1', 'sandboxes.name 1', 'sandboxes.title 1', 'sandboxes.type 1', 'sandboxes.state 1', true, 9007199254761483, 9007199254761633, 9007199254759913, 'sandboxes.created_by 1', 'sandboxes.updated_by 1');
INSERT INTO public.sandboxes VALUES ('sandboxes.id 2', 'organisations.id 2', 'sandboxes.name 2', 'sandboxes.title 2', 'sandboxes.type 2', 'sandboxes.state 2', false, 9007199254761484, 9007199254761634, 9007199254759914, 'sandboxes.created_by 2', 'sandboxes.updated_by 2');


--
-- Data for Name: signing_keys; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.signing_keys VALUES ('signing_keys.id 1', '\x7369676e696e675f6b6579732e7365616c65642031', 9007199254764713, 9007199254764943);
INSERT INTO public.signing_keys VALUES ('signing_keys.id 2', '\x7369676e696e675f6b6579732e7365616c65642032', 9007199254764714, 9007199254764944);


--
-- Data for Name: source_connections; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.source_connections VALUES ('source_connections.connection_spec_id 1', 'source_connections.base_connection_id 1', '{"source_connections.dataset_ids": 1}', '{"source_connections.data": 1}', 'source_connections.name 1', 'source_connections.description 1', 'source_connections.state 1', 'source_connections.id 1', 'source_connections.org_id 1', 'source_connections.sandbox_id 1', 9007199254771203, 9007199254771353, 'source_connections.created_by 1', 'source_connections.updated_by 1', 'source_connections.created_client 1', 'source_connections.updated_client 1', 'source_connections.version 1');
INSERT INTO public.source_connections VALUES ('source_connections.connection_spec_id 2', 'source_connections.base_connection_id 2', '{"source_connections.dataset_ids": 2}', '{"source_connections.data": 2}', 'source_connections.name 2', 'source_connections.description 2', 'source_connections.state 2', 'source_connections.id 2', 'source_connections.org_id 2', 'source_connections.sandbox_id 2', 9007199254771204, 9007199254771354, 'source_connections.created_by 2', 'source_connections.updated_by 2', 'source_connections.created_client 2', 'source_connections.updated_client 2', 'source_connections.version 2');


--
-- Data for Name: target_connections; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.target_connections VALUES ('target_connections.connection_spec_id 1', 'connections.id 1', '{"target_connections.params": 1}', 'target_connections.name 1', 'target_connections.description 1', 'target_connections.state 1', 'target_connections.id 1', 'target_connections.org_id 1', 'target_connections.sandbox_id 1', 9007199254771103, 9007199254771253, 'target_connections.created_by 1', 'target_connections.updated_by 1', 'target_connections.created_client 1', 'target_connections.updated_client 1', 'target_connections.version 1', true);
INSERT INTO public.target_connections VALUES ('target_connections.connection_spec_id 2', 'connections.id 2', '{"target_connections.params": 2}', 'target_connections.name 2', 'target_connections.description 2', 'target_connections.state 2', 'target_connections.id 2', 'target_connections.org_id 2', 'target_connections.sandbox_id 2', 9007199254771104, 9007199254771254, 'target_connections.created_by 2', 'target_connections.updated_by 2', 'target_connections.created_client 2', 'target_connections.updated_client 2', 'target_connections.version 2', false);


--
-- Data for Name: watermarks; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.watermarks VALUES ('watermarks.flow_id 1', 'datasets.id 1', 9007199254764143, 'watermarks.run_id 1', 9007199254762853);
INSERT INTO public.watermarks VALUES ('watermarks.flow_id 2', 'datasets.id 2', 9007199254764144, 'watermarks.run_id 2', 9007199254762854);


--
-- Name: alembic_version alembic_version_pkc; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);


--
-- Name: audit_events pk_audit_events; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_events
    ADD CONSTRAINT pk_audit_events PRIMARY KEY (id);


--
-- Name: batch_files pk_batch_files; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.batch_files
    ADD CONSTRAINT pk_batch_files PRIMARY KEY (batch_id, name);


--
-- Name: batches pk_batches; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.batches
    ADD CONSTRAINT pk_batches PRIMARY KEY (id);


--
-- Name: clients pk_clients; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.clients
    ADD CONSTRAINT pk_clients PRIMARY KEY (id);


--
-- Name: connections pk_connections; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.connections
    ADD CONSTRAINT pk_connections PRIMARY KEY (id);


--
-- Name: datasets pk_datasets; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.datasets
    ADD CONSTRAINT pk_datasets PRIMARY KEY (id);


--
-- Name: destination_health pk_destination_health; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.destination_health
    ADD CONSTRAINT pk_destination_health PRIMARY KEY (address);


--
-- Name: flows pk_flows; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.flows
    ADD CONSTRAINT pk_flows PRIMARY KEY (id);


--
-- Name: labels pk_labels; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.labels
    ADD CONSTRAINT pk_labels PRIMARY KEY (entity_id, label);


--
-- Name: landing_zone_keys pk_landing_zone_keys; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.landing_zone_keys
    ADD CONSTRAINT pk_landing_zone_keys PRIMARY KEY (id);


--
-- Name: organisations pk_organisations; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.organisations
    ADD CONSTRAINT pk_organisations PRIMARY KEY (id);


--
-- Name: role_subjects pk_role_subjects; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.role_subjects
    ADD CONSTRAINT pk_role_subjects PRIMARY KEY (role_id, client_id);


--
-- Name: roles pk_roles; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.roles
    ADD CONSTRAINT pk_roles PRIMARY KEY (id);


--
-- Name: run_datasets pk_run_datasets; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.run_datasets
    ADD CONSTRAINT pk_run_datasets PRIMARY KEY (run_id, dataset_id);


--
-- Name: run_parts pk_run_parts; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.run_parts
    ADD CONSTRAINT pk_run_parts PRIMARY KEY (run_id, number);


--
-- Name: runs pk_runs; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.runs
    ADD CONSTRAINT pk_runs PRIMARY KEY (id);


--
-- Name: sandboxes pk_sandboxes; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.sandboxes
    ADD CONSTRAINT pk_sandboxes PRIMARY KEY (id);


--
-- Name: signing_keys pk_signing_keys; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.signing_keys
    ADD CONSTRAINT pk_signing_keys PRIMARY KEY (id);


--
-- Name: source_connections pk_source_connections; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.source_connections
    ADD CONSTRAINT pk_source_connections PRIMARY KEY (id);


--
-- Name: target_connections pk_target_connections; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.target_connections
    ADD CONSTRAINT pk_target_connections PRIMARY KEY (id);


--
-- Name: watermarks pk_watermarks; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.watermarks
    ADD CONSTRAINT pk_watermarks PRIMARY KEY (flow_id, dataset_id);


--
-- Name: roles uq_roles_org_id_name; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.roles
    ADD CONSTRAINT uq_roles_org_id_name UNIQUE (org_id, name);


--
-- Name: runs uq_runs_flow_id_scheduled_at; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.runs
    ADD CONSTRAINT uq_runs_flow_id_scheduled_at UNIQUE (flow_id, scheduled_at);


--
-- Name: sandboxes uq_sandboxes_org_id_name; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.sandboxes
    ADD CONSTRAINT uq_sandboxes_org_id_name UNIQUE (org_id, name);


--
-- Name: ix_audit_events_org_id_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_audit_events_org_id_id ON public.audit_events USING btree (org_id, id);


--
-- Name: ix_audit_events_org_id_sandbox_name_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_audit_events_org_id_sandbox_name_id ON public.audit_events USING btree (org_id, sandbox_name, id);


--
-- Name: ix_audit_events_resource_id_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_audit_events_resource_id_id ON public.audit_events USING btree (resource_id, id);


--
-- Name: ix_batches_dataset_id_content_hash; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_batches_dataset_id_content_hash ON public.batches USING btree (dataset_id, content_hash);


--
-- Name: ix_batches_dataset_id_created_at_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_batches_dataset_id_created_at_id ON public.batches USING btree (dataset_id, created_at, id);


--
-- Name: ix_batches_loading; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_batches_loading ON public.batches USING btree (updated_at) WHERE ((status)::text = 'loading'::text);


--
-- Name: ix_batches_queue; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_batches_queue ON public.batches USING btree (status, updated_at) WHERE ((status)::text = ANY ((ARRAY['staged'::character varying, 'processing'::character varying])::text[]));


--
-- Name: ix_batches_sandbox_id_created_at_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_batches_sandbox_id_created_at_id ON public.batches USING btree (sandbox_id, created_at, id);


--
-- Name: ix_connections_sandbox_id_updated_at_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_connections_sandbox_id_updated_at_id ON public.connections USING btree (sandbox_id, updated_at, id);


--
-- Name: ix_datasets_sandbox_id_name; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_datasets_sandbox_id_name ON public.datasets USING btree (sandbox_id, name);


--
-- Name: ix_flows_due; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_flows_due ON public.flows USING btree (next_run_s);


--
-- Name: ix_flows_failing; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_flows_failing ON public.flows USING btree (failures) WHERE (failures > 0);


--
-- Name: ix_flows_sandbox_id_updated_at_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_flows_sandbox_id_updated_at_id ON public.flows USING btree (sandbox_id, updated_at, id);


--
-- Name: ix_flows_source_connection_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_flows_source_connection_id ON public.flows USING btree (source_connection_id);


--
-- Name: ix_flows_target_connection_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_flows_target_connection_id ON public.flows USING btree (target_connection_id);


--
-- Name: ix_landing_zone_keys_sandbox_id_type_created_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_landing_zone_keys_sandbox_id_type_created_at ON public.landing_zone_keys USING btree (sandbox_id, type, created_at);


--
-- Name: ix_role_subjects_client_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_role_subjects_client_id ON public.role_subjects USING btree (client_id);


--
-- Name: ix_runs_address; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_runs_address ON public.runs USING btree (address) WHERE (((status)::text = 'waiting'::text) AND (address IS NOT NULL));


--
-- Name: ix_runs_queue; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_runs_queue ON public.runs USING btree (status, created_at) WHERE ((status)::text = ANY ((ARRAY['waiting'::character varying, 'processing'::character varying])::text[]));


--
-- Name: ix_runs_ready; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_runs_ready ON public.runs USING btree (created_at, id) WHERE (((status)::text = 'waiting'::text) AND (not_before IS NULL));


--
-- Name: ix_runs_sandbox_id_created_at_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_runs_sandbox_id_created_at_id ON public.runs USING btree (sandbox_id, created_at, id);


--
-- Name: ix_runs_sandbox_id_flow_id_updated_at_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_runs_sandbox_id_flow_id_updated_at_id ON public.runs USING btree (sandbox_id, flow_id, updated_at, id);


--
-- Name: ix_runs_sandbox_id_updated_at_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_runs_sandbox_id_updated_at_id ON public.runs USING btree (sandbox_id, updated_at, id);


--
-- Name: ix_runs_sweep; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_runs_sweep ON public.runs USING btree (sweep_due) WHERE (sweep_due IS NOT NULL);


--
-- Name: ix_runs_unalerted; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_runs_unalerted ON public.runs USING btree (waiting_since) WHERE (((status)::text = ANY ((ARRAY['waiting'::character varying, 'processing'::character varying])::text[])) AND (waiting_since IS NOT NULL) AND (alerted_at IS NULL));


--
-- Name: ix_runs_waits; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_runs_waits ON public.runs USING btree (not_before, fence, created_at, id) WHERE (((status)::text = 'waiting'::text) AND (not_before IS NOT NULL));


--
-- Name: ix_runs_windows; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_runs_windows ON public.runs USING btree (wait_until) WHERE (((status)::text = 'waiting'::text) AND (not_before IS NOT NULL));


--
-- Name: ix_source_connections_sandbox_id_updated_at_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_source_connections_sandbox_id_updated_at_id ON public.source_connections USING btree (sandbox_id, updated_at, id);


--
-- Name: ix_target_connections_base_connection_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_target_connections_base_connection_id ON public.target_connections USING btree (base_connection_id);


--
-- Name: ix_target_connections_sandbox_id_updated_at_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_target_connections_sandbox_id_updated_at_id ON public.target_connections USING btree (sandbox_id, updated_at, id);


--
-- Name: uq_runs_live; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX uq_runs_live ON public.runs USING btree (flow_id) WHERE ((status)::text = ANY ((ARRAY['waiting'::character varying, 'processing'::character varying])::text[]));


--
-- Name: batch_files fk_batch_files_batch_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.batch_files
    ADD CONSTRAINT fk_batch_files_batch_id FOREIGN KEY (batch_id) REFERENCES public.batches(id);


--
-- Name: clients fk_clients_org_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.clients
    ADD CONSTRAINT fk_clients_org_id FOREIGN KEY (org_id) REFERENCES public.organisations(id);


--
-- Name: flows fk_flows_source_connection_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.flows
    ADD CONSTRAINT fk_flows_source_connection_id FOREIGN KEY (source_connection_id) REFERENCES public.source_connections(id);


--
-- Name: flows fk_flows_target_connection_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.flows
    ADD CONSTRAINT fk_flows_target_connection_id FOREIGN KEY (target_connection_id) REFERENCES public.target_connections(id);


--
-- Name: landing_zone_keys fk_landing_zone_keys_sandbox_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.landing_zone_keys
    ADD CONSTRAINT fk_landing_zone_keys_sandbox_id FOREIGN KEY (sandbox_id) REFERENCES public.sandboxes(id);


--
-- Name: role_subjects fk_role_subjects_client_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.role_subjects
    ADD CONSTRAINT fk_role_subjects_client_id FOREIGN KEY (client_id) REFERENCES public.clients(id);


--
-- Name: role_subjects fk_role_subjects_role_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.role_subjects
    ADD CONSTRAINT fk_role_subjects_role_id FOREIGN KEY (role_id) REFERENCES public.roles(id);


--
-- Name: roles fk_roles_org_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.roles
    ADD CONSTRAINT fk_roles_org_id FOREIGN KEY (org_id) REFERENCES public.organisations(id);


--
-- Name: run_datasets fk_run_datasets_run_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.run_datasets
    ADD CONSTRAINT fk_run_datasets_run_id FOREIGN KEY (run_id) REFERENCES public.runs(id);


--
-- Name: run_parts fk_run_parts_run_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.run_parts
    ADD CONSTRAINT fk_run_parts_run_id FOREIGN KEY (run_id) REFERENCES public.runs(id);


--
-- Name: sandboxes fk_sandboxes_org_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.sandboxes
    ADD CONSTRAINT fk_sandboxes_org_id FOREIGN KEY (org_id) REFERENCES public.organisations(id);


--
-- Name: target_connections fk_target_connections_base_connection_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.target_connections
    ADD CONSTRAINT fk_target_connections_base_connection_id FOREIGN KEY (base_connection_id) REFERENCES public.connections(id);


--
-- PostgreSQL database dump complete
--


