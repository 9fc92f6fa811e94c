# An activity that works in small steps, tells how far it is, and ends as
# canceled when it is asked to: what it then prints is the details.
n=0
trap 'echo "\"stopped at step $n\""; exit 143' TERM
while :; do
	n=$((n + 1))
	echo "{\"step\": $n}" >&3
	sleep 0.2 &
	wait $!
done
