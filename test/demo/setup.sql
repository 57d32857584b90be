-- The server of the demo, made by an ordinary database owner: countries and their subdivisions as
-- Debian's iso-codes knows them, each row with an owner, and one policy that decides who sees what.
\set countries `cat /usr/share/iso-codes/json/iso_3166-1.json`
\set subdivisions `cat /usr/share/iso-codes/json/iso_3166-2.json`

CREATE EXTENSION offsync;

CREATE FUNCTION me() RETURNS text STABLE LANGUAGE sql
    RETURN current_setting('request.jwt.claims', true)::json ->> 'sub';

CREATE TABLE country (
    id            text PRIMARY KEY,
    owner         text NOT NULL DEFAULT me(),
    name          text NOT NULL,
    official_name text,
    flag          text,
    visited       boolean NOT NULL DEFAULT false,
    rating        numeric(3, 1),
    note          text
);

CREATE TABLE subdivision (
    id         text PRIMARY KEY,
    owner      text NOT NULL DEFAULT me(),
    country_id text NOT NULL REFERENCES country ON DELETE CASCADE,
    parent_id  text REFERENCES subdivision ON DELETE CASCADE,
    kind       text NOT NULL,
    name       text NOT NULL,
    seen_at    timestamptz
);
CREATE INDEX ON country (owner);
CREATE INDEX ON subdivision (owner);
CREATE INDEX ON subdivision (country_id);
CREATE INDEX ON subdivision (parent_id);

-- Alice has the countries up to M, bob the others.
INSERT INTO country (id, owner, name, official_name, flag)
SELECT alpha_2, CASE WHEN alpha_2 < 'N' THEN 'alice' ELSE 'bob' END, name, official_name, flag
FROM json_to_recordset(:'countries'::json -> '3166-1')
     AS x (alpha_2 text, name text, official_name text, flag text);

-- A parent is written with its country or without.
WITH x AS (
    SELECT *, split_part(code, '-', 1) AS cc
    FROM json_to_recordset(:'subdivisions'::json -> '3166-2')
         AS x (code text, name text, type text, parent text)
)
INSERT INTO subdivision (id, owner, country_id, parent_id, kind, name)
SELECT x.code, c.owner, c.id, p.code, x.type, x.name
FROM x
JOIN country c ON c.id = x.cc
LEFT JOIN x p ON p.code IN (x.parent, x.cc || '-' || x.parent);

ALTER TABLE country ENABLE ROW LEVEL SECURITY;
ALTER TABLE subdivision ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON country USING (owner = (SELECT me()));
CREATE POLICY mine ON subdivision USING (owner = (SELECT me()));
GRANT SELECT, INSERT, UPDATE, DELETE ON country, subdivision TO app;
