-- The application's side of the chain, as a Supabase project has it: roles
-- (made by the run script), the functions of schema auth, tables under
-- row-level security, and a schema beside public that PostgREST publishes.

CREATE EXTENSION offsync;

CREATE SCHEMA auth;
CREATE FUNCTION auth.jwt() RETURNS jsonb LANGUAGE sql STABLE AS $$
	SELECT coalesce(nullif(current_setting('request.jwt.claim', true), ''),
		nullif(current_setting('request.jwt.claims', true), ''))::jsonb
$$;
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $$
	SELECT coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''),
		nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid
$$;
CREATE FUNCTION auth.role() RETURNS text LANGUAGE sql STABLE AS $$
	SELECT coalesce(nullif(current_setting('request.jwt.claim.role', true), ''),
		nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role')
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
	title text NOT NULL CHECK (title <> 'unheard of'),
	done boolean NOT NULL DEFAULT false,
	due timestamptz,
	notes text,
	position float,
	created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON public.project (owner);
CREATE INDEX ON public.task (owner);
CREATE INDEX ON public.task (project_id);

-- With whom a project is shared; devices don't hold it.
CREATE TABLE public.member (
	project_id uuid NOT NULL REFERENCES public.project ON DELETE CASCADE,
	user_id uuid NOT NULL,
	PRIMARY KEY (user_id, project_id)
);

ALTER TABLE public.project ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.task ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.member ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON public.project TO authenticated USING (owner = (SELECT auth.uid()));
CREATE POLICY mine ON public.task TO authenticated USING (owner = (SELECT auth.uid()));
CREATE POLICY mine ON public.member FOR SELECT TO authenticated USING (user_id = (SELECT auth.uid()));
CREATE POLICY shared ON public.project FOR SELECT TO authenticated
	USING (id IN (SELECT m.project_id FROM public.member m WHERE m.user_id = (SELECT auth.uid())));
CREATE POLICY shared ON public.task TO authenticated
	USING (project_id IN (SELECT m.project_id FROM public.member m WHERE m.user_id = (SELECT auth.uid())));
-- anon holds SELECT too, so that it is the policies that answer it.
GRANT SELECT ON public.project, public.task, public.member TO anon;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.project, public.task TO authenticated, service_role;
GRANT SELECT ON public.member TO authenticated, service_role;

SELECT * FROM offsync.enable('public.project');
SELECT * FROM offsync.enable('public.task');

CREATE SCHEMA api;
GRANT USAGE ON SCHEMA api TO anon, authenticated, service_role;
SELECT * FROM offsync.expose('api');
