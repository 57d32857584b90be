-- The application's side of the chain, as a Supabase project has it: roles
-- (made by the run script), auth.uid(), two tables under row-level security,
-- and one schema that PostgREST publishes.

CREATE EXTENSION offsync;

CREATE SCHEMA auth;
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $$
	SELECT (nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub')::uuid
$$;
GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role;

CREATE TABLE public.project (
	id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	owner uuid NOT NULL DEFAULT auth.uid(),
	name text NOT NULL
);

CREATE TABLE public.task (
	id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	project_id uuid NOT NULL REFERENCES public.project,
	owner uuid NOT NULL DEFAULT auth.uid(),
	title text NOT NULL,
	done boolean NOT NULL DEFAULT false,
	due timestamptz,
	notes text,
	position float,
	created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON public.project (owner);
CREATE INDEX ON public.task (owner);
CREATE INDEX ON public.task (project_id);

ALTER TABLE public.project ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.task ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON public.project TO authenticated USING (owner = (SELECT auth.uid()));
CREATE POLICY mine ON public.task TO authenticated USING (owner = (SELECT auth.uid()));
-- anon holds SELECT too, so that it is the policies that answer it.
GRANT SELECT ON public.project, public.task TO anon;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.project, public.task TO authenticated, service_role;

SELECT * FROM offsync.enable('public.project');
SELECT * FROM offsync.enable('public.task');

CREATE SCHEMA api;
GRANT USAGE ON SCHEMA api TO anon, authenticated, service_role;
SELECT * FROM offsync.expose('api');
