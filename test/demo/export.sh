# An activity that works in small steps, tells how far it is, and ends as
# canceled when it is asked to: what it then prints is the details.
part=0
trap 'echo "\"stopped after part $part\""; exit 143' TERM
while :; do
	sleep 0.2 &		# stands for the work
	wait $!
	part=$((part + 1))
	echo "{\"part\": $part}" >&3
done
