-- Names of notification channels
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_channel');

-- Each kind and name has its channel, always the same.
SELECT count(DISTINCT wf_channel(kind, name)), count(*)
	FROM unnest(ARRAY['workflow', 'activity', 'worker']) kind,
		(SELECT 'queue ' || i FROM generate_series(1, 1000) i) q (name);
SELECT wf_channel('workflow', 'default') = wf_channel('workflow', 'default');
-- At most 63 bytes and not empty, whatever the name; long names that differ
-- only at the end have different channels.
SELECT max(octet_length(wf_channel('workflow', name))) <= 63, min(octet_length(wf_channel('workflow', name))) > 0,
	count(DISTINCT wf_channel('workflow', name)) = count(*)
	FROM (SELECT repeat(chr(65 + i % 26), 1 + i) FROM generate_series(0, 999) i
		UNION ALL SELECT repeat('x', 999) || i FROM generate_series(0, 9) i
		UNION ALL VALUES (repeat(chr(233), 1000)), (' '), ('"'), ('''; NOTIFY x'), (E'a\nb')) n (name);
-- It can be listened on.
SELECT format('LISTEN %I', wf_channel('workflow', 'a "queue"')) \gexec
SELECT count(*) FROM pg_listening_channels() c WHERE c = wf_channel('workflow', 'a "queue"');
UNLISTEN *;
-- NULL in, NULL out.
SELECT wf_channel(NULL, 'a') IS NULL, wf_channel('worker', NULL) IS NULL;
-- Refused.
SELECT raises($$SELECT wf_channel('queue', 'a')$$);
SELECT raises($$SELECT wf_channel('Workflow', 'a')$$);
SELECT raises($$SELECT wf_channel('', 'a')$$);
SELECT raises($$SELECT wf_channel('workflow', '')$$);
SELECT raises($$SELECT wf_channel('worker', repeat('x', 1001))$$);
-- Does not read anything: fit for an index.
CREATE TEMP TABLE queue (name text);
CREATE INDEX ON queue (wf_channel('workflow', name));

SELECT test_end();
