# What a machine with the two units of deploy/systemd must show. In a guest, as root.

units=(ratatosk-loader ratatosk)
declare -rA bit=([cap_dac_read_search]=2 [cap_sys_ptrace]=19 [cap_perfmon]=38 [cap_bpf]=39)
# Exposure as `systemd-analyze security` counts it, times ten: 0 is a box without a door, 100 a plain root service.
declare -rA exposed=([ratatosk-loader]=15 [ratatosk]=9)
# Longest that a stop may take, in seconds; systemd itself would kill after 90.
stop_limit=10

show() { systemctl show --value --property "$2" "$1"; }
main_pid() { show "$1" MainPID; }
# Field $2 of the status of process $1.
status() { sed -n "s/^$2:\s*//p" "/proc/$1/status"; }
# The mask of these capabilities, as /proc shows it.
mask() {
	local name sum=0
	for name in "$@"; do ((sum |= 1 << bit[$name])) || true; done
	printf '%016x' $sum
}
is_ready() { [[ $(show ratatosk StatusText) == "ready, tier "* && $(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8998/readyz) == 200 ]]; }
# How often the requests to /$1/... were told.
told() { journalctl --unit ratatosk --output cat --grep "GET /$1/" 2>/dev/null | wc -l; }
ask() { curl -sf -o /dev/null "http://127.0.0.1:8080/$1/[1-$2]"; }
has_told() { [[ $(told "$1") == "$2" ]]; }
# Requests to /$1/..., each told, and none twice.
tells() {
	ask "$1" "$2"
	within 20 has_told "$1" "$2"
}

the_readme_installs_and_starts_both() {
	awk '/^## systemd/ { there = 1 } there && /^```sh$/ { code = 1; next } /^```$/ && code { exit } code' deploy/README.md >readme.sh
	grep -q 'systemctl enable --now' readme.sh
	timeout 60 bash -eux readme.sh
}

systemd_finds_nothing_wrong_with_the_units() {
	[[ -z $(systemd-analyze verify ratatosk-loader.service ratatosk.service 2>&1) ]]
}

both_told_systemd_that_they_are_ready() {
	for unit in "${units[@]}"; do
		[[ $(show $unit ActiveState) == active && $(show $unit SubState) == running ]]
		[[ $(show $unit Type) == notify && $(show $unit NRestarts) == 0 ]]
		[[ $(show $unit WatchdogTimestampMonotonic) != 0 ]]
	done
	is_ready
}

the_loader_has_what_is_declared_and_its_server_nothing() {
	read -ra declared <<<"$(show ratatosk-loader AmbientCapabilities)"
	local main; main=$(main_pid ratatosk-loader)
	[[ ${#declared[@]} == 4 && $(status $main CapBnd) == "$(mask "${declared[@]}")" ]]
	# what it needs only to load is gone
	[[ $(status $main CapEff) == "$(mask cap_sys_ptrace cap_dac_read_search)" ]]
	[[ $(status $main CapPrm) == "$(status $main CapEff)" ]]
	[[ $(status $main Uid) == "$(id -u ratatosk-loader)"$'\t'* && $(status $main Gid) == "$(id -g ratatosk)"$'\t'* ]]
	local child children
	# no line end at its end
	read -ra children <"/proc/$main/task/$main/children" || true
	((${#children[@]} > 0))
	for child in "${children[@]}"; do [[ $(status $child CapEff) == "$(mask)" && $(status $child CapPrm) == "$(mask)" ]]; done
	for child in $main "${children[@]}"; do [[ $(status $child NoNewPrivs) == 1 && $(status $child Seccomp) == 2 ]]; done
}

the_processor_is_another_user_without_rights() {
	local main; main=$(main_pid ratatosk)
	for set in CapEff CapPrm CapInh CapBnd CapAmb; do [[ $(status $main $set) == "$(mask)" ]]; done
	[[ $(status $main Uid) == "$(id -u ratatosk)"$'\t'* && $(id -u ratatosk) != "$(id -u ratatosk-loader)" ]]
	[[ $(status $main NoNewPrivs) == 1 && $(status $main Seccomp) == 2 ]]
}

requests_are_told_in_the_journal_and_counted() {
	tells first 20
	[[ $(curl -sf http://127.0.0.1:8998/healthz -o /dev/null -w '%{http_code}') == 200 ]]
	curl -sf http://127.0.0.1:8999/metrics | grep '^http_server_request_duration_seconds_count' >counted
	cat counted
	grep -q 'http_route="/first/\*".*} 20$' counted
}

explain_answers_root_and_its_own_user_and_nobody_else() {
	ratatosk explain >explained
	grep nginx explained | grep -q observed
	setpriv --reuid ratatosk --regid ratatosk --clear-groups ratatosk explain | grep -q nginx
	! setpriv --reuid nobody --regid nogroup --clear-groups ratatosk explain
	! setpriv --reuid ratatosk-loader --regid ratatosk --clear-groups ratatosk explain
}

the_box_of_each_is_closed() {
	local loader processor pid place
	loader=$(main_pid ratatosk-loader) processor=$(main_pid ratatosk)
	for pid in $loader $processor; do
		for place in usr etc var/lib boot; do
			! touch /proc/$pid/root/$place/mark 2>refused
			grep -q 'Read-only file system' refused
		done
		# no program but its own can be started, libraries can be mapped
		! /proc/$pid/root/bin/true 2>refused
		grep -q 'Permission denied' refused
		[[ -z $(ls /proc/$pid/root/home /proc/$pid/root/root | grep -v :) && ! -e /proc/$pid/root/dev/kmsg && ! -e /proc/$pid/root/dev/mem ]]
		for space in mnt ipc uts; do [[ $(readlink /proc/$pid/ns/$space) != "$(readlink /proc/1/ns/$space)" ]]; done
	done
	# the loader has no network but a loopback of its own
	[[ $(readlink /proc/$loader/ns/net) != "$(readlink /proc/1/ns/net)" ]]
	[[ $(grep -c : /proc/$loader/net/dev) == 1 ]]
	# the processor sees neither processes of other users nor their ids
	grep -q ' /proc .* - proc .*hidepid=invisible,subset=pid' /proc/$processor/mountinfo
	[[ $(readlink /proc/$processor/ns/user) != "$(readlink /proc/1/ns/user)" ]]
}

either_comes_back_from_a_restart() {
	systemctl restart ratatosk-loader
	# the processor stays, and finds it again by itself
	[[ $(show ratatosk NRestarts) == 0 ]]
	within 20 is_ready
	tells second 5
	systemctl restart ratatosk
	is_ready
	tells third 5
}

either_comes_back_when_it_is_killed() {
	for unit in "${units[@]}"; do
		local before; before=$(main_pid $unit)
		kill -KILL $before
		is_back() { [[ $(show $unit ActiveState) == active && $(main_pid $unit) != 0 && $(main_pid $unit) != "$before" ]] && is_ready; }
		within 30 is_back
		[[ $(show $unit NRestarts) == 1 ]]
		tells killed-$unit 5
	done
}

the_watchdog_ends_one_that_hangs() {
	local before; before=$(main_pid ratatosk)
	kill -STOP $before
	is_back() { [[ $(main_pid ratatosk) != 0 && $(main_pid ratatosk) != "$before" ]] && is_ready; }
	within 60 is_back
	journalctl --unit ratatosk --output cat | grep -q 'Watchdog timeout'
}

a_wrong_setting_is_not_tried_again_and_again() {
	cp /etc/ratatosk/processor.env kept.env
	echo BEYLA_OPEN_PORT=nonsense >>/etc/ratatosk/processor.env
	! timeout 30 systemctl restart ratatosk
	[[ $(show ratatosk ActiveState) == failed && $(show ratatosk ExecMainStatus) == 64 ]]
	cp kept.env /etc/ratatosk/processor.env
	systemctl start ratatosk
	is_ready
}

neither_complained() {
	journalctl --unit ratatosk-loader --unit ratatosk --output cat >journal
	! grep -E '(WARN|ERROR)' journal
}

exposure_stays_below_its_bound() {
	for unit in "${units[@]}"; do
		systemd-analyze security --no-pager --threshold=${exposed[$unit]} $unit.service >analysis
		tail -1 analysis >&3
	done
}

memory_stays_below_its_bound() {
	tells load 1000
	for unit in "${units[@]}"; do
		local now most group
		group=/sys/fs/cgroup$(show $unit ControlGroup)
		now=$(<$group/memory.current) most=$(cat $group/memory.peak 2>/dev/null || echo "$now")
		echo "$unit: memory $((now >> 10)) KiB, at most $((most >> 10)) KiB of $(($(show $unit MemoryMax) >> 10))" >&3
		((most < $(show $unit MemoryMax) / 2))
		grep -q '^oom_kill 0' $group/memory.events
	done
}

a_stop_is_clean_and_quick() {
	local started=$SECONDS
	systemctl stop ratatosk ratatosk-loader
	((SECONDS - started <= stop_limit))
	for unit in "${units[@]}"; do
		[[ $(show $unit ActiveState) == inactive && $(show $unit Result) == success && $(show $unit ExecMainStatus) == 0 ]]
		[[ ! -e /sys/fs/cgroup/system.slice/$unit.service/cgroup.procs ]]
	done
	[[ ! -e /run/ratatosk && ! -e /run/ratatosk-processor ]]
}
