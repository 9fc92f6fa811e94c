# A streaming standby, and its promotion

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WfiTest;

my $primary = new_node('primary', init => { allows_streaming => 1 });
my ($ret, $stdout, $stderr);

$primary->safe_psql('postgres', 'CREATE EXTENSION workflow_interrupt');
wait_for_driver($primary, 'postgres');
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;

$primary->safe_psql('postgres', q(
	SELECT wf_start('here', 't');
	SELECT wf_start('later', 't', start_delay => '1h');
	SELECT wf_start('due', 't', task_queue => 'due', start_delay => '3s')));
$primary->wait_for_catchup($standby);

# Reading works.
is($standby->safe_psql('postgres', q(SELECT workflow_id FROM wf.execution ORDER BY 1)),
	"due\nhere\nlater", 'tables');
is($standby->safe_psql('postgres', q(SELECT event_type FROM wf_history('here'))),
	"WorkflowExecutionStarted\nWorkflowTaskScheduled", 'wf_history()');
isnt($standby->safe_psql('postgres', q(SELECT wf_describe('here'))), '', 'wf_describe()');
is($standby->safe_psql('postgres', q(SELECT wf_result('here') IS NULL)), 't', 'wf_result()');
is($standby->safe_psql('postgres', q(SELECT count(*) FROM wf_check())), '0', 'wf_check()');
is($standby->safe_psql('postgres', q(SELECT wf_channel('workflow', 'q'))), 'wf_workflow_q', 'wf_channel()');

# Writing is refused, and says why.
foreach my $call (q(wf_start('new', 't')),
	q(wf_signal('here', 's')),
	q(wf_signal_with_start('here', 't', 's')),
	q(wf_cancel('here')),
	q(wf_terminate('here')),
	q(wf_pause('here')),
	q(wf_unpause('here')),
	q(wf_poll_workflow_task('default')),
	q(wf_tick()),
	q(wf_create_namespace('n')),
	q(wf_drop_namespace('n')))
{
	($ret, $stdout, $stderr) = $standby->psql('postgres', "\\set VERBOSITY verbose\nSELECT $call");
	like($stderr, qr/ERROR:  25006: cannot execute .* (?:during recovery|in a read-only transaction)/, "refused: $call");
}
is($standby->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'workflow_interrupt%')),
	'0', 'no background process during recovery');

# The primary goes away with something still to do.
$primary->stop('immediate');
$standby->promote;
wait_for_driver($standby, 'postgres');
my $l = listener($standby, 'postgres', qw(due q));
ok($standby->poll_query_until('postgres', q(SELECT count(*) = 1 FROM wf.task WHERE task_queue = 'due')),
	'what was due happens on the promoted standby');
$standby->safe_psql('postgres', q(SELECT wf_start('new', 't', task_queue => 'q')));
wait_for_notice($l, 'q');
pass('and its work is announced');
$l->{psql}->quit;

check_sound($standby);
$standby->stop;
done_testing();
