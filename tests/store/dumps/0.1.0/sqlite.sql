BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0013');
CREATE TABLE audit_events (
	id VARCHAR NOT NULL, 
	org_id VARCHAR NOT NULL, 
	sandbox_name VARCHAR, 
	at BIGINT NOT NULL, 
	account_id VARCHAR NOT NULL, 
	client_id VARCHAR NOT NULL, 
	remote VARCHAR NOT NULL, 
	request_id VARCHAR NOT NULL, 
	action VARCHAR NOT NULL, 
	resource_type VARCHAR NOT NULL, 
	resource_id VARCHAR NOT NULL, 
	resource_name VARCHAR, 
	"before" JSON, 
	"after" JSON, 
	CONSTRAINT pk_audit_events PRIMARY KEY (id)
);
INSERT INTO "audit_events" VALUES('audit_events.id 1','audit_events.org_id 1','audit_events.sandbox_name 1',9007199254756493,'audit_events.account_id 1','audit_events.client_id 1','audit_events.remote 1','audit_events.request_id 1','audit_events.action 1','audit_events.resource_type 1','audit_events.resource_id 1','audit_events.resource_name 1','{"audit_events.before": 1}','{"audit_events.after": 1}');
INSERT INTO "audit_events" VALUES('audit_events.id 2','audit_events.org_id 2','audit_events.sandbox_name 2',9007199254756494,'audit_events.account_id 2','audit_events.client_id 2','audit_events.remote 2','audit_events.request_id 2','audit_events.action 2','audit_events.resource_type 2','audit_events.resource_id 2','audit_events.resource_name 2','{"audit_events.before": 2}','{"audit_events.after": 2}');
CREATE TABLE batch_files (
	batch_id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	complete BOOLEAN NOT NULL, 
	size BIGINT NOT NULL, 
	total BIGINT, 
	received JSON NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT pk_batch_files PRIMARY KEY (batch_id, name), 
	CONSTRAINT fk_batch_files_batch_id FOREIGN KEY(batch_id) REFERENCES batches (id)
);
INSERT INTO "batch_files" VALUES('batches.id 1','batch_files.name 1',1,9007199254757283,9007199254758333,'{"batch_files.received": 1}',9007199254763363);
INSERT INTO "batch_files" VALUES('batches.id 2','batch_files.name 2',0,9007199254757284,9007199254758334,'{"batch_files.received": 2}',9007199254763364);
CREATE TABLE "batches" (
	id VARCHAR NOT NULL, 
	dataset_id VARCHAR NOT NULL, 
	status VARCHAR NOT NULL, 
	snapshot_id BIGINT, 
	rows BIGINT NOT NULL, 
	bytes BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	completed_at BIGINT, 
	created_client VARCHAR NOT NULL, 
	org_id VARCHAR DEFAULT ('') NOT NULL, 
	sandbox_id VARCHAR DEFAULT ('') NOT NULL, 
	created_by VARCHAR DEFAULT ('') NOT NULL, 
	updated_by VARCHAR DEFAULT ('') NOT NULL, 
	updated_client VARCHAR DEFAULT ('') NOT NULL, 
	version VARCHAR DEFAULT ('') NOT NULL, 
	updated_at BIGINT DEFAULT '0' NOT NULL, 
	input_rows BIGINT DEFAULT '0' NOT NULL, 
	input_bytes BIGINT DEFAULT '0' NOT NULL, 
	failed_rows BIGINT DEFAULT '0' NOT NULL, 
	fence BIGINT DEFAULT '0' NOT NULL, 
	input_format JSON DEFAULT '{}' NOT NULL, 
	tags JSON DEFAULT '{}' NOT NULL, 
	replaces JSON DEFAULT '[]' NOT NULL, 
	errors JSON DEFAULT '[]' NOT NULL, 
	external_id VARCHAR, 
	error_diagnostics BOOLEAN DEFAULT 0 NOT NULL, 
	failed_percentage DOUBLE DEFAULT '0' NOT NULL, 
	started_at BIGINT, 
	lease_owner VARCHAR, 
	lease_until BIGINT, 
	beat BIGINT DEFAULT '0' NOT NULL, 
	evolve BOOLEAN DEFAULT 0 NOT NULL, 
	content_hash VARCHAR, 
	notes JSON DEFAULT '[]' NOT NULL, 
	rewrites BOOLEAN DEFAULT 0 NOT NULL, 
	CONSTRAINT pk_batches PRIMARY KEY (id)
);
INSERT INTO "batches" VALUES('batches.id 1','datasets.id 1','batches.status 1',9007199254760553,9007199254753343,9007199254754263,9007199254759113,9007199254761403,'batches.created_client 1','batches.org_id 1','batches.sandbox_id 1','batches.created_by 1','batches.updated_by 1','batches.updated_client 1','batches.version 1',9007199254759263,9007199254759893,9007199254760813,9007199254760423,9007199254753883,'{"batches.input_format": 1}','{"batches.tags": 1}','{"batches.replaces": 1}','["batches.errors"]','batches.external_id 1',1,1.1,9007199254759423,'batches.lease_owner 1',9007199254760483,9007199254752873,1,'batches.content_hash 1','{"batches.notes": 1}',1);
INSERT INTO "batches" VALUES('batches.id 2','datasets.id 2','batches.status 2',9007199254760554,9007199254753344,9007199254754264,9007199254759114,9007199254761404,'batches.created_client 2','batches.org_id 2','batches.sandbox_id 2','batches.created_by 2','batches.updated_by 2','batches.updated_client 2','batches.version 2',9007199254759264,9007199254759894,9007199254760814,9007199254760424,9007199254753884,'{"batches.input_format": 2}','{"batches.tags": 2}','{"batches.replaces": 2}','["batches.errors"]','batches.external_id 2',0,2.1,9007199254759424,'batches.lease_owner 2',9007199254760484,9007199254752874,0,'batches.content_hash 2','{"batches.notes": 2}',0);
CREATE TABLE "clients" (
	id VARCHAR NOT NULL, 
	org_id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	account_id VARCHAR NOT NULL, 
	secret_hash VARCHAR, 
	created_at BIGINT NOT NULL, 
	revoked_at BIGINT, 
	kind VARCHAR DEFAULT 'user' NOT NULL, 
	rotated_at BIGINT, 
	CONSTRAINT pk_clients PRIMARY KEY (id), 
	CONSTRAINT fk_clients_org_id FOREIGN KEY(org_id) REFERENCES organisations (id)
);
INSERT INTO "clients" VALUES('clients.id 1','organisations.id 1','clients.name 1','clients.account_id 1','clients.secret_hash 1',9007199254759353,9007199254759593,'clients.kind 1',9007199254759623);
INSERT INTO "clients" VALUES('clients.id 2','organisations.id 2','clients.name 2','clients.account_id 2','clients.secret_hash 2',9007199254759354,9007199254759594,'clients.kind 2',9007199254759624);
CREATE TABLE connections (
	connection_spec_id VARCHAR NOT NULL, 
	auth_spec_name VARCHAR, 
	auth_public JSON, 
	auth_sealed BLOB, 
	encryption JSON, 
	name VARCHAR NOT NULL, 
	description VARCHAR, 
	state VARCHAR NOT NULL, 
	id VARCHAR NOT NULL, 
	org_id VARCHAR NOT NULL, 
	sandbox_id VARCHAR NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	created_by VARCHAR NOT NULL, 
	updated_by VARCHAR NOT NULL, 
	created_client VARCHAR NOT NULL, 
	updated_client VARCHAR NOT NULL, 
	version VARCHAR NOT NULL, address VARCHAR, 
	CONSTRAINT pk_connections PRIMARY KEY (id)
);
INSERT INTO "connections" VALUES('connections.connection_spec_id 1','connections.auth_spec_name 1','{"connections.auth_public": 1}',X'636F6E6E656374696F6E732E617574685F7365616C65642031','{"connections.encryption": 1}','connections.name 1','connections.description 1','connections.state 1','connections.id 1','connections.org_id 1','connections.sandbox_id 1',9007199254763683,9007199254763833,'connections.created_by 1','connections.updated_by 1','connections.created_client 1','connections.updated_client 1','connections.version 1','connections.address 1');
INSERT INTO "connections" VALUES('connections.connection_spec_id 2','connections.auth_spec_name 2','{"connections.auth_public": 2}',X'636F6E6E656374696F6E732E617574685F7365616C65642032','{"connections.encryption": 2}','connections.name 2','connections.description 2','connections.state 2','connections.id 2','connections.org_id 2','connections.sandbox_id 2',9007199254763684,9007199254763834,'connections.created_by 2','connections.updated_by 2','connections.created_client 2','connections.updated_client 2','connections.version 2','connections.address 2');
CREATE TABLE "datasets" (
	name VARCHAR NOT NULL, 
	description VARCHAR, 
	table_name VARCHAR NOT NULL, 
	schema_ref JSON, 
	tags JSON NOT NULL, 
	id VARCHAR NOT NULL, 
	org_id VARCHAR NOT NULL, 
	sandbox_id VARCHAR NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	created_by VARCHAR NOT NULL, 
	updated_by VARCHAR NOT NULL, 
	created_client VARCHAR NOT NULL, 
	updated_client VARCHAR NOT NULL, 
	version VARCHAR NOT NULL, 
	file_description JSON, 
	classification JSON, 
	error_diagnostics BOOLEAN DEFAULT 0 NOT NULL, 
	evolves BOOLEAN DEFAULT 0 NOT NULL, 
	declared JSON, 
	rewrites BIGINT DEFAULT '0' NOT NULL, 
	CONSTRAINT pk_datasets PRIMARY KEY (id)
);
INSERT INTO "datasets" VALUES('datasets.name 1','datasets.description 1','datasets.table_name 1','{"datasets.schema_ref": 1}','{"datasets.tags": 1}','datasets.id 1','datasets.org_id 1','datasets.sandbox_id 1',9007199254760383,9007199254760533,'datasets.created_by 1','datasets.updated_by 1','datasets.created_client 1','datasets.updated_client 1','datasets.version 1','{"datasets.file_description": 1}','{"datasets.classification": 1}',1,1,'{"datasets.declared": 1}',9007199254758873);
INSERT INTO "datasets" VALUES('datasets.name 2','datasets.description 2','datasets.table_name 2','{"datasets.schema_ref": 2}','{"datasets.tags": 2}','datasets.id 2','datasets.org_id 2','datasets.sandbox_id 2',9007199254760384,9007199254760534,'datasets.created_by 2','datasets.updated_by 2','datasets.created_client 2','datasets.updated_client 2','datasets.version 2','{"datasets.file_description": 2}','{"datasets.classification": 2}',0,0,'{"datasets.declared": 2}',9007199254758874);
CREATE TABLE destination_health (
	address VARCHAR NOT NULL, 
	answered_at BIGINT, 
	away_since BIGINT, 
	noted_at BIGINT, 
	next_at BIGINT, 
	probing_until BIGINT, 
	failures BIGINT DEFAULT '0' NOT NULL, 
	reason JSON, 
	probe_run_id VARCHAR, 
	CONSTRAINT pk_destination_health PRIMARY KEY (address)
);
INSERT INTO "destination_health" VALUES('destination_health.address 1',9007199254772213,9007199254771153,9007199254769023,9007199254768113,9007199254774603,9007199254769153,'{"destination_health.reason": 1}','destination_health.probe_run_id 1');
INSERT INTO "destination_health" VALUES('destination_health.address 2',9007199254772214,9007199254771154,9007199254769024,9007199254768114,9007199254774604,9007199254769154,'{"destination_health.reason": 2}','destination_health.probe_run_id 2');
CREATE TABLE flows (
	flow_spec_id VARCHAR NOT NULL, 
	source_connection_id VARCHAR NOT NULL, 
	target_connection_id VARCHAR NOT NULL, 
	schedule JSON NOT NULL, 
	next_run_s BIGINT, 
	last_operation JSON NOT NULL, 
	last_run_id VARCHAR, 
	last_run_state VARCHAR, 
	last_run_started_at BIGINT, 
	last_run_completed_at BIGINT, 
	name VARCHAR NOT NULL, 
	description VARCHAR, 
	state VARCHAR NOT NULL, 
	id VARCHAR NOT NULL, 
	org_id VARCHAR NOT NULL, 
	sandbox_id VARCHAR NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	created_by VARCHAR NOT NULL, 
	updated_by VARCHAR NOT NULL, 
	created_client VARCHAR NOT NULL, 
	updated_client VARCHAR NOT NULL, 
	version VARCHAR NOT NULL, policy JSON, failures BIGINT DEFAULT '0' NOT NULL, failing_since BIGINT, ends_logged JSON, 
	CONSTRAINT pk_flows PRIMARY KEY (id), 
	CONSTRAINT fk_flows_source_connection_id FOREIGN KEY(source_connection_id) REFERENCES source_connections (id), 
	CONSTRAINT fk_flows_target_connection_id FOREIGN KEY(target_connection_id) REFERENCES target_connections (id)
);
INSERT INTO "flows" VALUES('flows.flow_spec_id 1','source_connections.id 1','target_connections.id 1','{"flows.schedule": 1}',9007199254757933,'{"flows.last_operation": 1}','flows.last_run_id 1','flows.last_run_state 1',9007199254767343,9007199254769323,'flows.name 1','flows.description 1','flows.state 1','flows.id 1','flows.org_id 1','flows.sandbox_id 1',9007199254757363,9007199254757513,'flows.created_by 1','flows.updated_by 1','flows.created_client 1','flows.updated_client 1','flows.version 1','{"flows.policy": 1}',9007199254755593,9007199254760553,'{"flows.ends_logged": 1}');
INSERT INTO "flows" VALUES('flows.flow_spec_id 2','source_connections.id 2','target_connections.id 2','{"flows.schedule": 2}',9007199254757934,'{"flows.last_operation": 2}','flows.last_run_id 2','flows.last_run_state 2',9007199254767344,9007199254769324,'flows.name 2','flows.description 2','flows.state 2','flows.id 2','flows.org_id 2','flows.sandbox_id 2',9007199254757364,9007199254757514,'flows.created_by 2','flows.updated_by 2','flows.created_client 2','flows.updated_client 2','flows.version 2','{"flows.policy": 2}',9007199254755594,9007199254760554,'{"flows.ends_logged": 2}');
CREATE TABLE labels (
	entity_id VARCHAR NOT NULL, 
	label VARCHAR NOT NULL, 
	CONSTRAINT pk_labels PRIMARY KEY (entity_id, label)
);
INSERT INTO "labels" VALUES('labels.entity_id 1','labels.label 1');
INSERT INTO "labels" VALUES('labels.entity_id 2','labels.label 2');
CREATE TABLE landing_zone_keys (
	id VARCHAR NOT NULL, 
	sandbox_id VARCHAR NOT NULL, 
	type VARCHAR NOT NULL, 
	sealed BLOB NOT NULL, 
	created_at BIGINT NOT NULL, 
	expires_at BIGINT, 
	revoked_at BIGINT, client_id VARCHAR, deletes BOOLEAN, 
	CONSTRAINT pk_landing_zone_keys PRIMARY KEY (id), 
	CONSTRAINT fk_landing_zone_keys_sandbox_id FOREIGN KEY(sandbox_id) REFERENCES sandboxes (id)
);
INSERT INTO "landing_zone_keys" VALUES('landing_zone_keys.id 1','sandboxes.id 1','landing_zone_keys.type 1',X'6C616E64696E675F7A6F6E655F6B6579732E7365616C65642031',9007199254769923,9007199254770323,9007199254770163,'landing_zone_keys.client_id 1',1);
INSERT INTO "landing_zone_keys" VALUES('landing_zone_keys.id 2','sandboxes.id 2','landing_zone_keys.type 2',X'6C616E64696E675F7A6F6E655F6B6579732E7365616C65642032',9007199254769924,9007199254770324,9007199254770164,'landing_zone_keys.client_id 2',0);
CREATE TABLE organisations (
	id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	created_at BIGINT NOT NULL, 
	CONSTRAINT pk_organisations PRIMARY KEY (id)
);
INSERT INTO "organisations" VALUES('organisations.id 1','organisations.name 1',9007199254765903);
INSERT INTO "organisations" VALUES('organisations.id 2','organisations.name 2',9007199254765904);
CREATE TABLE role_subjects (
	role_id VARCHAR NOT NULL, 
	client_id VARCHAR NOT NULL, 
	CONSTRAINT pk_role_subjects PRIMARY KEY (role_id, client_id), 
	CONSTRAINT fk_role_subjects_client_id FOREIGN KEY(client_id) REFERENCES clients (id), 
	CONSTRAINT fk_role_subjects_role_id FOREIGN KEY(role_id) REFERENCES roles (id)
);
INSERT INTO "role_subjects" VALUES('roles.id 1','clients.id 1');
INSERT INTO "role_subjects" VALUES('roles.id 2','clients.id 2');
CREATE TABLE roles (
	id VARCHAR NOT NULL, 
	org_id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	description VARCHAR NOT NULL, 
	permissions JSON NOT NULL, 
	sandboxes JSON NOT NULL, 
	labels JSON NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	created_by VARCHAR NOT NULL, 
	updated_by VARCHAR NOT NULL, 
	CONSTRAINT pk_roles PRIMARY KEY (id), 
	CONSTRAINT fk_roles_org_id FOREIGN KEY(org_id) REFERENCES organisations (id), 
	CONSTRAINT uq_roles_org_id_name UNIQUE (org_id, name)
);
INSERT INTO "roles" VALUES('roles.id 1','organisations.id 1','roles.name 1','roles.description 1','["roles.permissions"]','{"roles.sandboxes": 1}','{"roles.labels": 1}',9007199254757303,9007199254757453,'roles.created_by 1','roles.updated_by 1');
INSERT INTO "roles" VALUES('roles.id 2','organisations.id 2','roles.name 2','roles.description 2','["roles.permissions"]','{"roles.sandboxes": 2}','{"roles.labels": 2}',9007199254757304,9007199254757454,'roles.created_by 2','roles.updated_by 2');
CREATE TABLE run_datasets (
	run_id VARCHAR NOT NULL, 
	dataset_id VARCHAR NOT NULL, 
	dataset_name VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	from_snapshot BIGINT, 
	to_snapshot BIGINT, 
	schema JSON, 
	folder VARCHAR NOT NULL, 
	input_files BIGINT NOT NULL, 
	input_rows BIGINT NOT NULL, 
	input_bytes BIGINT NOT NULL, 
	deleted_rows BIGINT NOT NULL, 
	error JSON, position BIGINT, taken_over_by VARCHAR, 
	CONSTRAINT pk_run_datasets PRIMARY KEY (run_id, dataset_id), 
	CONSTRAINT fk_run_datasets_run_id FOREIGN KEY(run_id) REFERENCES runs (id)
);
INSERT INTO "run_datasets" VALUES('runs.id 1','datasets.id 1','run_datasets.dataset_name 1','run_datasets.kind 1',9007199254768493,9007199254766403,'{"run_datasets.schema": 1}','run_datasets.folder 1',9007199254766243,9007199254765523,9007199254766443,9007199254767193,'{"run_datasets.error": 1}',9007199254763233,'run_datasets.taken_over_by 1');
INSERT INTO "run_datasets" VALUES('runs.id 2','datasets.id 2','run_datasets.dataset_name 2','run_datasets.kind 2',9007199254768494,9007199254766404,'{"run_datasets.schema": 2}','run_datasets.folder 2',9007199254766244,9007199254765524,9007199254766444,9007199254767194,'{"run_datasets.error": 2}',9007199254763234,'run_datasets.taken_over_by 2');
CREATE TABLE run_parts (
	run_id VARCHAR NOT NULL, 
	number BIGINT NOT NULL, 
	dataset_id VARCHAR NOT NULL, 
	"key" VARCHAR NOT NULL, 
	slices JSON NOT NULL, 
	input_rows BIGINT NOT NULL, 
	input_bytes BIGINT NOT NULL, 
	rows BIGINT, 
	bytes BIGINT, 
	sha256 VARCHAR, 
	finished_at BIGINT, losses JSON, intended_at BIGINT, token VARCHAR, uri VARCHAR, "left" JSON, 
	CONSTRAINT pk_run_parts PRIMARY KEY (run_id, number), 
	CONSTRAINT fk_run_parts_run_id FOREIGN KEY(run_id) REFERENCES runs (id)
);
INSERT INTO "run_parts" VALUES('runs.id 1',9007199254757843,'datasets.id 1','run_parts.key 1','{"run_parts.slices": 1}',9007199254762493,9007199254763413,9007199254755943,9007199254756863,'run_parts.sha256 1',9007199254762853,'{"run_parts.losses": 1}',9007199254762863,'run_parts.token 1','run_parts.uri 1','{"run_parts.left": 1}');
INSERT INTO "run_parts" VALUES('runs.id 2',9007199254757844,'datasets.id 2','run_parts.key 2','{"run_parts.slices": 2}',9007199254762494,9007199254763414,9007199254755944,9007199254756864,'run_parts.sha256 2',9007199254762854,'{"run_parts.losses": 2}',9007199254762864,'run_parts.token 2','run_parts.uri 2','{"run_parts.left": 2}');
CREATE TABLE "runs" (
	flow_id VARCHAR NOT NULL, 
	flow_spec_id VARCHAR NOT NULL, 
	source_connection_id VARCHAR NOT NULL, 
	target_connection_id VARCHAR NOT NULL, 
	"trigger" VARCHAR NOT NULL, 
	scheduled_at BIGINT NOT NULL, 
	dataset_ids JSON NOT NULL, 
	full_export BOOLEAN NOT NULL, 
	moves_position BOOLEAN NOT NULL, 
	status VARCHAR NOT NULL, 
	cancel_requested BOOLEAN NOT NULL, 
	parent_run_id VARCHAR, 
	fence BIGINT NOT NULL, 
	lease_owner VARCHAR, 
	planned_at BIGINT, 
	started_at BIGINT, 
	completed_at BIGINT, 
	location VARCHAR, 
	manifest JSON, 
	errors JSON NOT NULL, 
	warnings JSON NOT NULL, 
	id VARCHAR NOT NULL, 
	org_id VARCHAR NOT NULL, 
	sandbox_id VARCHAR NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	created_by VARCHAR NOT NULL, 
	updated_by VARCHAR NOT NULL, 
	created_client VARCHAR NOT NULL, 
	updated_client VARCHAR NOT NULL, 
	version VARCHAR NOT NULL, 
	params JSON, 
	beat BIGINT DEFAULT '0' NOT NULL, 
	claims BIGINT DEFAULT '0' NOT NULL, 
	pins JSON, 
	folder VARCHAR, 
	verdict JSON, 
	sweep_due BIGINT, 
	manifest_key VARCHAR, 
	disposal VARCHAR, 
	removals BIGINT DEFAULT '0' NOT NULL, 
	address VARCHAR, 
	held BOOLEAN DEFAULT 0 NOT NULL, 
	not_before BIGINT, 
	deferred_at BIGINT, 
	waiting_since BIGINT, 
	wait_until BIGINT, 
	alerted_at BIGINT, 
	wait_reason JSON, 
	retries JSON, 
	CONSTRAINT pk_runs PRIMARY KEY (id), 
	CONSTRAINT uq_runs_flow_id_scheduled_at UNIQUE (flow_id, scheduled_at)
);
INSERT INTO "runs" VALUES('runs.flow_id 1','runs.flow_spec_id 1','runs.source_connection_id 1','runs.target_connection_id 1','runs.trigger 1',9007199254758543,'{"runs.dataset_ids": 1}',1,1,'runs.status 1',1,'runs.parent_run_id 1',9007199254751143,'runs.lease_owner 1',9007199254756473,9007199254756683,9007199254758663,'runs.location 1','{"runs.manifest": 1}','["runs.errors"]','{"runs.warnings": 1}','runs.id 1','runs.org_id 1','runs.sandbox_id 1',9007199254756373,9007199254756523,'runs.created_by 1','runs.updated_by 1','runs.created_client 1','runs.updated_client 1','runs.version 1','{"runs.params": 1}',9007199254750133,9007199254752343,'{"runs.pins": 1}','runs.folder 1','{"runs.verdict": 1}',9007199254755623,'runs.manifest_key 1','runs.disposal 1',9007199254754743,'runs.address 1',1,9007199254756603,9007199254757423,9007199254759813,9007199254756893,9007199254756463,'{"runs.wait_reason": 1}','{"runs.retries": 1}');
INSERT INTO "runs" VALUES('runs.flow_id 2','runs.flow_spec_id 2','runs.source_connection_id 2','runs.target_connection_id 2','runs.trigger 2',9007199254758544,'{"runs.dataset_ids": 2}',0,0,'runs.status 2',0,'runs.parent_run_id 2',9007199254751144,'runs.lease_owner 2',9007199254756474,9007199254756684,9007199254758664,'runs.location 2','{"runs.manifest": 2}','["runs.errors"]','{"runs.warnings": 2}','runs.id 2','runs.org_id 2','runs.sandbox_id 2',9007199254756374,9007199254756524,'runs.created_by 2','runs.updated_by 2','runs.created_client 2','runs.updated_client 2','runs.version 2','{"runs.params": 2}',9007199254750134,9007199254752344,'{"runs.pins": 2}','runs.folder 2','{"runs.verdict": 2}',9007199254755624,'runs.manifest_key 2','runs.disposal 2',9007199254754744,'runs.address 2',0,9007199254756604,9007199254757424,9007199254759814,9007199254756894,9007199254756464,'{"runs.wait_reason": 2}','{"runs.retries": 2}');
CREATE TABLE sandboxes (
	id VARCHAR NOT NULL, 
	org_id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	title VARCHAR NOT NULL, 
	type VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	is_default BOOLEAN NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, revision BIGINT DEFAULT '1' NOT NULL, created_by VARCHAR DEFAULT 'system@AdobeID' NOT NULL, updated_by VARCHAR DEFAULT 'system@AdobeID' NOT NULL, 
	CONSTRAINT pk_sandboxes PRIMARY KEY (id), 
	CONSTRAINT fk_sandboxes_org_id FOREIGN KEY(org_id) REFERENCES organisations (id), 
	CONSTRAINT uq_sandboxes_org_id_name UNIQUE (org_id, name)
);
INSERT INTO "sandboxes" VALUES('sandboxes.id 1','organisations.id 1','sandboxes.name 1','sandboxes.title 1','sandboxes.type 1','sandboxes.state 1',1,9007199254761483,9007199254761633,9007199254759913,'sandboxes.created_by 1','sandboxes.updated_by 1');
INSERT INTO "sandboxes" VALUES('sandboxes.id 2','organisations.id 2','sandboxes.name 2','sandboxes.title 2','sandboxes.type 2','sandboxes.state 2',0,9007199254761484,9007199254761634,9007199254759914,'sandboxes.created_by 2','sandboxes.updated_by 2');
CREATE TABLE signing_keys (
	id VARCHAR NOT NULL, 
	sealed BLOB NOT NULL, 
	created_at BIGINT NOT NULL, 
	retired_at BIGINT, 
	CONSTRAINT pk_signing_keys PRIMARY KEY (id)
);
INSERT INTO "signing_keys" VALUES('signing_keys.id 1',X'7369676E696E675F6B6579732E7365616C65642031',9007199254764713,9007199254764943);
INSERT INTO "signing_keys" VALUES('signing_keys.id 2',X'7369676E696E675F6B6579732E7365616C65642032',9007199254764714,9007199254764944);
CREATE TABLE source_connections (
	connection_spec_id VARCHAR NOT NULL, 
	base_connection_id VARCHAR NOT NULL, 
	dataset_ids JSON NOT NULL, 
	data JSON, 
	name VARCHAR NOT NULL, 
	description VARCHAR, 
	state VARCHAR NOT NULL, 
	id VARCHAR NOT NULL, 
	org_id VARCHAR NOT NULL, 
	sandbox_id VARCHAR NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	created_by VARCHAR NOT NULL, 
	updated_by VARCHAR NOT NULL, 
	created_client VARCHAR NOT NULL, 
	updated_client VARCHAR NOT NULL, 
	version VARCHAR NOT NULL, 
	CONSTRAINT pk_source_connections PRIMARY KEY (id)
);
INSERT INTO "source_connections" VALUES('source_connections.connection_spec_id 1','source_connections.base_connection_id 1','{"source_connections.dataset_ids": 1}','{"source_connections.data": 1}','source_connections.name 1','source_connections.description 1','source_connections.state 1','source_connections.id 1','source_connections.org_id 1','source_connections.sandbox_id 1',9007199254771203,9007199254771353,'source_connections.created_by 1','source_connections.updated_by 1','source_connections.created_client 1','source_connections.updated_client 1','source_connections.version 1');
INSERT INTO "source_connections" VALUES('source_connections.connection_spec_id 2','source_connections.base_connection_id 2','{"source_connections.dataset_ids": 2}','{"source_connections.data": 2}','source_connections.name 2','source_connections.description 2','source_connections.state 2','source_connections.id 2','source_connections.org_id 2','source_connections.sandbox_id 2',9007199254771204,9007199254771354,'source_connections.created_by 2','source_connections.updated_by 2','source_connections.created_client 2','source_connections.updated_client 2','source_connections.version 2');
CREATE TABLE "target_connections" (
	connection_spec_id VARCHAR NOT NULL, 
	base_connection_id VARCHAR NOT NULL, 
	params JSON NOT NULL, 
	name VARCHAR NOT NULL, 
	description VARCHAR, 
	state VARCHAR NOT NULL, 
	id VARCHAR NOT NULL, 
	org_id VARCHAR NOT NULL, 
	sandbox_id VARCHAR NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	created_by VARCHAR NOT NULL, 
	updated_by VARCHAR NOT NULL, 
	created_client VARCHAR NOT NULL, 
	updated_client VARCHAR NOT NULL, 
	version VARCHAR NOT NULL, 
	manifest_by_target BOOLEAN DEFAULT 0 NOT NULL, 
	CONSTRAINT pk_target_connections PRIMARY KEY (id), 
	CONSTRAINT fk_target_connections_base_connection_id FOREIGN KEY(base_connection_id) REFERENCES connections (id)
);
INSERT INTO "target_connections" VALUES('target_connections.connection_spec_id 1','connections.id 1','{"target_connections.params": 1}','target_connections.name 1','target_connections.description 1','target_connections.state 1','target_connections.id 1','target_connections.org_id 1','target_connections.sandbox_id 1',9007199254771103,9007199254771253,'target_connections.created_by 1','target_connections.updated_by 1','target_connections.created_client 1','target_connections.updated_client 1','target_connections.version 1',1);
INSERT INTO "target_connections" VALUES('target_connections.connection_spec_id 2','connections.id 2','{"target_connections.params": 2}','target_connections.name 2','target_connections.description 2','target_connections.state 2','target_connections.id 2','target_connections.org_id 2','target_connections.sandbox_id 2',9007199254771104,9007199254771254,'target_connections.created_by 2','target_connections.updated_by 2','target_connections.created_client 2','target_connections.updated_client 2','target_connections.version 2',0);
CREATE TABLE watermarks (
	flow_id VARCHAR NOT NULL, 
	dataset_id VARCHAR NOT NULL, 
	snapshot_id BIGINT NOT NULL, 
	run_id VARCHAR NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT pk_watermarks PRIMARY KEY (flow_id, dataset_id)
);
INSERT INTO "watermarks" VALUES('watermarks.flow_id 1','datasets.id 1',9007199254764143,'watermarks.run_id 1',9007199254762853);
INSERT INTO "watermarks" VALUES('watermarks.flow_id 2','datasets.id 2',9007199254764144,'watermarks.run_id 2',9007199254762854);
CREATE INDEX ix_connections_sandbox_id_updated_at_id ON connections (sandbox_id, updated_at, id);
CREATE INDEX ix_source_connections_sandbox_id_updated_at_id ON source_connections (sandbox_id, updated_at, id);
CREATE INDEX ix_flows_due ON flows (next_run_s) WHERE next_run_s IS NOT NULL;
CREATE INDEX ix_flows_sandbox_id_updated_at_id ON flows (sandbox_id, updated_at, id);
CREATE INDEX ix_flows_source_connection_id ON flows (source_connection_id);
CREATE INDEX ix_flows_target_connection_id ON flows (target_connection_id);
CREATE INDEX ix_audit_events_org_id_id ON audit_events (org_id, id);
CREATE INDEX ix_audit_events_org_id_sandbox_name_id ON audit_events (org_id, sandbox_name, id);
CREATE INDEX ix_audit_events_resource_id_id ON audit_events (resource_id, id);
CREATE INDEX ix_role_subjects_client_id ON role_subjects (client_id);
CREATE INDEX ix_landing_zone_keys_sandbox_id_type_created_at ON landing_zone_keys (sandbox_id, type, created_at);
CREATE INDEX ix_flows_failing ON flows (failures) WHERE failures > 0;
CREATE INDEX ix_batches_queue ON batches (status, updated_at) WHERE status IN ('staged', 'processing');
CREATE INDEX ix_batches_dataset_id_created_at_id ON batches (dataset_id, created_at, id);
CREATE INDEX ix_batches_sandbox_id_created_at_id ON batches (sandbox_id, created_at, id);
CREATE INDEX ix_batches_dataset_id_content_hash ON batches (dataset_id, content_hash);
CREATE INDEX ix_target_connections_base_connection_id ON target_connections (base_connection_id);
CREATE INDEX ix_target_connections_sandbox_id_updated_at_id ON target_connections (sandbox_id, updated_at, id);
CREATE INDEX ix_runs_sandbox_id_updated_at_id ON runs (sandbox_id, updated_at, id);
CREATE INDEX ix_runs_queue ON runs (status, created_at) WHERE status IN ('waiting', 'processing');
CREATE UNIQUE INDEX uq_runs_live ON runs (flow_id) WHERE status IN ('waiting', 'processing');
CREATE INDEX ix_runs_sandbox_id_flow_id_updated_at_id ON runs (sandbox_id, flow_id, updated_at, id);
CREATE INDEX ix_runs_sweep ON runs (sweep_due) WHERE sweep_due IS NOT NULL;
CREATE INDEX ix_runs_ready ON runs (created_at, id) WHERE status = 'waiting' AND not_before IS NULL;
CREATE INDEX ix_runs_waits ON runs (not_before, fence, created_at, id) WHERE status = 'waiting' AND not_before IS NOT NULL;
CREATE INDEX ix_runs_windows ON runs (wait_until) WHERE status = 'waiting' AND not_before IS NOT NULL;
CREATE INDEX ix_runs_address ON runs (address) WHERE status = 'waiting' AND address IS NOT NULL;
CREATE INDEX ix_runs_unalerted ON runs (waiting_since) WHERE status IN ('waiting', 'processing') AND waiting_since IS NOT NULL AND alerted_at IS NULL;
CREATE INDEX ix_datasets_sandbox_id_name ON datasets (sandbox_id, name);
CREATE INDEX ix_runs_sandbox_id_created_at_id ON runs (sandbox_id, created_at, id);
CREATE INDEX ix_batches_loading ON batches (updated_at) WHERE status = 'loading';
COMMIT;
