CREATE TABLE cameos (
	id VARCHAR(40) NOT NULL, 
	name TEXT NOT NULL, 
	kind VARCHAR(20) NOT NULL, 
	portrait_digest VARCHAR(128) NOT NULL, 
	template BLOB, 
	created TEXT NOT NULL, 
	status TEXT NOT NULL, 
	statement TEXT NOT NULL, 
	deleted_at VARCHAR(40), 
	signature BLOB NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE challenges (
	id VARCHAR(40) NOT NULL, 
	name TEXT NOT NULL, 
	nonce TEXT NOT NULL, 
	actions TEXT NOT NULL, 
	issued TEXT NOT NULL, 
	expires TEXT NOT NULL, 
	signature BLOB NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE grants (
	id VARCHAR(40) NOT NULL, 
	cameo_id VARCHAR(40) NOT NULL, 
	grantee TEXT NOT NULL, 
	purpose TEXT NOT NULL, 
	allowed_contexts TEXT NOT NULL, 
	created TEXT NOT NULL, 
	expires TEXT NOT NULL, 
	max_renders INTEGER NOT NULL, 
	max_ms INTEGER NOT NULL, 
	commercial INTEGER NOT NULL, 
	revoked_at VARCHAR(40), 
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
CREATE INDEX ix_cameos_kind ON cameos (kind);
CREATE INDEX ix_cameos_portrait_digest ON cameos (portrait_digest);
CREATE INDEX ix_grants_cameo_id ON grants (cameo_id);
CREATE INDEX ix_ledger_cameo_id ON ledger (cameo_id);
CREATE INDEX ix_ledger_challenge_id ON ledger (challenge_id);
CREATE INDEX ix_ledger_grant_id ON ledger (grant_id);
CREATE INDEX ix_ledger_kind ON ledger (kind);
CREATE INDEX ix_ledger_permit_id ON ledger (permit_id);
CREATE UNIQUE INDEX one_answer_per_challenge ON ledger (challenge_id) WHERE kind IN ('enrolled', 'enrolment_refused');
CREATE UNIQUE INDEX one_end_per_permit ON ledger (permit_id) WHERE kind IN ('rendered', 'aborted');
