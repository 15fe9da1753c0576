#!/bin/bash
# Runs every check of deploy/ in a guest, as libtest would say it. The folder of this file holds what is installed.
cd "$(dirname "$0")" || exit 69
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
exec 3>&1
passed=0 failed=0

# Until "$2..." succeeds, at most $1 seconds.
within() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		((SECONDS < end)) || return 1
		sleep 0.2
	done
}

# $1 is a function. Its first command that fails fails it, and then what it did is shown.
check() {
	(set -ex; "$1") >log 2>&1
	if (($? == 0)); then
		passed=$((passed + 1)) && echo "test deploy $1 ... ok ($SECONDS s)"
	else
		failed=$((failed + 1)) && echo "test deploy $1 ... FAILED" && tail -n 60 log
	fi
}

cat >/etc/nginx/sites-enabled/default <<'S'
server { listen 8080; access_log off; location / { return 200 "here\n"; } }
S
systemctl start nginx || exit 69

source units.sh
check the_readme_installs_and_starts_both
check systemd_finds_nothing_wrong_with_the_units
check both_told_systemd_that_they_are_ready
check the_loader_has_what_is_declared_and_its_server_nothing
check the_processor_is_another_user_without_rights
check requests_are_told_in_the_journal_and_counted
check explain_answers_root_and_its_own_user_and_nobody_else
check the_box_of_each_is_closed
check memory_stays_below_its_bound
check neither_complained
check exposure_stays_below_its_bound
check either_comes_back_from_a_restart
check either_comes_back_when_it_is_killed
check the_watchdog_ends_one_that_hangs
check a_wrong_setting_is_not_tried_again_and_again
check a_stop_is_clean_and_quick

source pod/pod.env
source pod.sh
check the_pod_starts_and_gets_ready
check its_containers_have_what_the_manifest_says
check the_pod_tells_what_the_node_serves
check the_pod_goes_on_when_its_loader_is_restarted
check the_pod_stops_cleanly
check an_old_profile_that_wants_sys_admin_for_bpf_is_named_as_the_cause

((failed == 0)) || tail -n 40 $home/*.log
# who was ended by a filter of system calls, and by which
((failed == 0)) || journalctl --dmesg --grep type=1326 --no-pager --output cat
((failed == 0)) || journalctl --unit ratatosk-loader --unit ratatosk --no-pager --lines 80

((failed == 0)) && verdict=ok || verdict=FAILED
echo "test result: $verdict. $passed passed; $failed failed; 0 ignored"
((failed == 0))
