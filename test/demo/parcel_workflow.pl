#!/usr/bin/perl
# The workflow of a parcel, for wf_worker: charge the customer, wait until the
# parcel is packed, ship it.

use strict;
use warnings;
use JSON::PP;

my $task = decode_json(join '', <STDIN>);
my %event;	# last event of each type
my %type;	# types of the scheduled activities
my %done;	# results of activities by type
foreach (@{ $task->{history} })
{
	my ($name, $attributes) = @{$_}{qw(event_type attributes)};

	$event{$name} = $attributes;
	$type{ $_->{event_id} } = $attributes->{activity_type} if $name eq 'ActivityTaskScheduled';
	$done{ $type{ $attributes->{scheduled_event_id} } } = $attributes->{result} if $name eq 'ActivityTaskCompleted';
}

my @commands;
sub command { my ($type, %fields) = @_; push @commands, { command_type => $type, %fields } }
sub schedule
{
	my ($type) = @_;
	command('ScheduleActivityTask', activity_id => $type, activity_type => $type, start_to_close_timeout => '1 min');
}

if (!%type)
{
	schedule('charge');
}
elsif ($done{charge} && !$event{TimerStarted})
{
	command('StartTimer', timer_id => 'packing', start_to_fire_timeout => '1 year');
}
elsif ($event{TimerFired} && keys %type == 1)
{
	schedule('ship');
}
elsif ($done{ship})
{
	command('CompleteWorkflowExecution', result => "$done{charge}, $done{ship}");
}

print encode_json(\@commands);
