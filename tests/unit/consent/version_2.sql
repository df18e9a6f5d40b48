CREATE TABLE accounts (
	id VARCHAR(100) NOT NULL, 
	name BLOB, 
	role VARCHAR(20) NOT NULL, 
	token_digest VARCHAR(64) NOT NULL, 
	created VARCHAR(40) NOT NULL, 
	disabled_at VARCHAR(40), 
	signature BLOB NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE cameos (
	id VARCHAR(100) NOT NULL, 
	name BLOB, 
	kind VARCHAR(20) NOT NULL, 
	portrait_digest VARCHAR(128) NOT NULL, 
	template BLOB, 
	created VARCHAR(40) NOT NULL, 
	status VARCHAR(20) NOT NULL, 
	statement TEXT NOT NULL, 
	deleted_at VARCHAR(40), 
	owner_account VARCHAR(100) NOT NULL, 
	generation INTEGER NOT NULL, 
	signature BLOB NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE challenge_videos (
	id VARCHAR(100) NOT NULL, 
	challenge_id VARCHAR(100) NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	fingerprint BLOB, 
	stored_file TEXT NOT NULL, 
	file_key BLOB, 
	received VARCHAR(40) NOT NULL, 
	erase_after VARCHAR(40), 
	erased_at VARCHAR(40), 
	signature BLOB NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(challenge_id) REFERENCES challenges (id)
);
CREATE TABLE challenges (
	id VARCHAR(100) NOT NULL, 
	name BLOB, 
	nonce VARCHAR(64) NOT NULL, 
	actions TEXT NOT NULL, 
	issued VARCHAR(40) NOT NULL, 
	expires VARCHAR(40) NOT NULL, 
	portrait_digest VARCHAR(128) NOT NULL, 
	purpose TEXT NOT NULL, 
	code VARCHAR(20) NOT NULL, 
	code_policy VARCHAR(20) NOT NULL, 
	dot_path TEXT NOT NULL, 
	adult_declared INTEGER NOT NULL, 
	link_token_digest VARCHAR(64) NOT NULL, 
	signature BLOB NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE checkpoints (
	seq INTEGER NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	time VARCHAR(40) NOT NULL, 
	signature BLOB NOT NULL, 
	PRIMARY KEY (seq)
);
CREATE TABLE counters (
	name VARCHAR(40) NOT NULL, 
	value INTEGER NOT NULL, 
	PRIMARY KEY (name)
);
CREATE TABLE denylist (
	id VARCHAR(100) NOT NULL, 
	template BLOB, 
	label BLOB, 
	created VARCHAR(40) NOT NULL, 
	removed_at VARCHAR(40), 
	generation INTEGER NOT NULL, 
	signature BLOB NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE grant_usage (
	grant_id VARCHAR(100) NOT NULL, 
	renders INTEGER NOT NULL, 
	milliseconds INTEGER NOT NULL, 
	seq INTEGER NOT NULL, 
	signature BLOB NOT NULL, 
	PRIMARY KEY (grant_id)
);
CREATE TABLE grants (
	id VARCHAR(100) NOT NULL, 
	cameo_id VARCHAR(100) NOT NULL, 
	grantee BLOB, 
	purpose TEXT NOT NULL, 
	allowed_contexts TEXT NOT NULL, 
	created VARCHAR(40) NOT NULL, 
	expires VARCHAR(40) NOT NULL, 
	max_renders INTEGER NOT NULL, 
	max_ms INTEGER NOT NULL, 
	commercial INTEGER NOT NULL, 
	revoked_at VARCHAR(40), 
	level VARCHAR(20) NOT NULL, 
	forbidden TEXT NOT NULL, 
	label_size VARCHAR(20) NOT NULL, 
	signature BLOB NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(cameo_id) REFERENCES cameos (id)
);
CREATE TABLE ledger (
	seq INTEGER NOT NULL CHECK (seq >= 1), 
	time VARCHAR(40) NOT NULL, 
	kind VARCHAR(40) NOT NULL, 
	cameo_id VARCHAR(100), 
	grant_id VARCHAR(40), 
	permit_id VARCHAR(40), 
	challenge_id VARCHAR(40), 
	charge_renders INTEGER NOT NULL, 
	charge_ms INTEGER NOT NULL, 
	payload TEXT NOT NULL, 
	previous VARCHAR(64) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (digest)
);
CREATE TABLE ledger_head (
	id INTEGER NOT NULL CHECK (id = 1), 
	seq INTEGER NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	signature BLOB NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE meta (
	"key" VARCHAR(40) NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY ("key")
);
CREATE TABLE outbox (
	id VARCHAR(100) NOT NULL, 
	cameo_id VARCHAR(100) NOT NULL, 
	channel VARCHAR(20) NOT NULL, 
	target BLOB, 
	body BLOB, 
	attempts INTEGER NOT NULL, 
	next_try VARCHAR(40), 
	sent_at VARCHAR(40), 
	failed_at VARCHAR(40), 
	signature BLOB NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE outputs (
	permit_id VARCHAR(100) NOT NULL, 
	path TEXT NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	time VARCHAR(40) NOT NULL, 
	deleted_at VARCHAR(40), 
	signature BLOB NOT NULL, 
	PRIMARY KEY (permit_id)
);
CREATE TABLE settings (
	cameo_id VARCHAR(100) NOT NULL, 
	"key" VARCHAR(40) NOT NULL, 
	value BLOB, 
	signature BLOB NOT NULL, 
	PRIMARY KEY (cameo_id, "key")
);
CREATE TABLE uses (
	id VARCHAR(100) NOT NULL, 
	cameo_id VARCHAR(100) NOT NULL, 
	time VARCHAR(40) NOT NULL, 
	kind VARCHAR(20) NOT NULL, 
	grantee BLOB, 
	purpose TEXT NOT NULL, 
	context TEXT NOT NULL, 
	permit_id VARCHAR(100) NOT NULL, 
	reason TEXT NOT NULL, 
	thumbnail BLOB, 
	read_at VARCHAR(40), 
	signature BLOB NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE withdrawals (
	permit_id VARCHAR(100) NOT NULL, 
	cameo_id VARCHAR(100) NOT NULL, 
	time VARCHAR(40) NOT NULL, 
	reason TEXT NOT NULL, 
	file_deleted INTEGER NOT NULL, 
	signature BLOB NOT NULL, 
	PRIMARY KEY (permit_id)
);
CREATE INDEX ix_accounts_token_digest ON accounts (token_digest);
CREATE INDEX ix_cameos_generation ON cameos (generation);
CREATE INDEX ix_cameos_kind ON cameos (kind);
CREATE INDEX ix_cameos_owner_account ON cameos (owner_account);
CREATE INDEX ix_cameos_portrait_digest_kind ON cameos (portrait_digest, kind);
CREATE INDEX ix_challenge_videos_challenge_id ON challenge_videos (challenge_id);
CREATE INDEX ix_challenge_videos_sha256 ON challenge_videos (sha256);
CREATE INDEX ix_challenges_link_token_digest ON challenges (link_token_digest);
CREATE INDEX ix_denylist_generation ON denylist (generation);
CREATE INDEX ix_grants_cameo_id ON grants (cameo_id);
CREATE INDEX ix_ledger_cameo_id_kind_seq ON ledger (cameo_id, kind, seq);
CREATE INDEX ix_ledger_challenge_id_kind_seq ON ledger (challenge_id, kind, seq);
CREATE INDEX ix_ledger_grant_id_seq ON ledger (grant_id, seq);
CREATE INDEX ix_ledger_kind_seq ON ledger (kind, seq);
CREATE INDEX ix_ledger_permit_id_kind_seq ON ledger (permit_id, kind, seq);
CREATE INDEX ix_outbox_cameo_id ON outbox (cameo_id);
CREATE INDEX ix_outbox_next_try ON outbox (next_try);
CREATE INDEX ix_outputs_sha256 ON outputs (sha256);
CREATE INDEX ix_uses_cameo_id_time ON uses (cameo_id, time);
CREATE INDEX ix_uses_permit_id ON uses (permit_id);
CREATE INDEX ix_withdrawals_cameo_id ON withdrawals (cameo_id);
CREATE UNIQUE INDEX one_answer_per_challenge ON ledger (challenge_id) WHERE kind IN ('enrolled', 'enrolment_refused');
CREATE UNIQUE INDEX one_deletion_per_cameo ON ledger (cameo_id) WHERE kind = 'deleted';
CREATE UNIQUE INDEX one_end_per_permit ON ledger (permit_id) WHERE kind IN ('rendered', 'aborted');
CREATE UNIQUE INDEX one_revocation_per_grant ON ledger (grant_id) WHERE kind = 'revoked';
