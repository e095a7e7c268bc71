#!/usr/bin/env bash
# Starts one run of several processes: on this host, or one on each of several hosts over plain ssh.

usage() {
    cat <<'END'
Starts one run of several processes.

  launch/hosts.sh -n N -- COMMAND...               N processes on this host
  launch/hosts.sh -H HOST,HOST... -- COMMAND...    one on each host, over ssh
  launch/hosts.sh -f FILE -- COMMAND...            the same; one host a line, and what follows its name is not read

For example: launch/hosts.sh -H gpu1,gpu2 -e PATH -- python -m kmerl_jax.train --config=configs/vit_base.py:mimic

  -p PORT     where process 0 listens; by default a free port of this host with -n, 8476 with -H and -f
  -d DIR      where the command starts, on every host; by default here
  -e NAME     hands this environment variable on to the other hosts; may be repeated
  -g SECONDS  once a process has failed, how long the others have to end by themselves; default 120
  -h          shows this

Each process is the command with --coordinator, --num_processes and --process_id appended. Its lines have its number in
front: [0] to [N-1]. SIGTERM and SIGINT are handed on to every process, and their end is awaited. When this launcher
dies or a connection breaks, the processes get SIGTERM, and SIGKILL after the seconds of -g. The exit status is the
first that was not 0.

The other hosts need bash and the same folder; ssh may not have to ask for a password. Process 0 is on the first host,
and the others must find it by the name given here.
END
}

fail() {
    echo "error: $1; launch/hosts.sh -h shows how" >&2
    exit 2
}

# What runs on the host of a process. A bash there reads it from standard input, whose next lines are signals for the
# command. Its end means that the launcher is no more: a pipe closes however a launcher or a connection ends.
# shellcheck disable=SC2329 # `script` sends it
keep() { # DIR SECONDS COMMAND...
    local seconds=$2 command listener status
    cd "$1" || exit
    shift 2
    export PYTHONUNBUFFERED=1 # so that what a killed process had said is not lost
    set -m                    # a process group of its own for the command and its children
    "$@" </dev/null &
    command=$!
    listen "$command" "$seconds" 2>/dev/null &
    listener=$!
    { wait "$command"; } 2>/dev/null
    status=$?
    while ((status > 146 && status < 151)) && kill -0 "$command" 2>/dev/null; do # stopped, which is not the end
        sleep 0.5
        { wait "$command"; } 2>/dev/null
        status=$?
    done
    kill -KILL -- "-$listener" "-$command" 2>/dev/null # children that the command left would hold the output open
    exit "$status"
}

# shellcheck disable=SC2329 # `script` sends it
listen() { # PID SECONDS
    local signal
    while read -r signal; do
        # Only SIGKILL is for the command's children too: those that read input must live until it has saved.
        if [[ $signal == KILL ]]; then kill -KILL -- "-$1"; else kill -s "$signal" "$1"; fi
    done
    kill -TERM "$1"
    sleep "$2"
    kill -KILL -- "-$1"
}

script() { # INDEX: all that the bash on a host is told
    local name
    for name in "${names[@]}"; do printf 'export %s=%q\n' "$name" "${!name}"; done
    declare -f keep listen
    printf '%q ' keep "$folder" "$grace" "${command[@]}" \
        "--coordinator=$coordinator" "--num_processes=${#hosts[@]}" "--process_id=$1"
    echo
}

run() { # INDEX: returns when the last line of the process is printed
    local input line shell=(bash)
    [[ $count ]] || shell=(
        ssh -T -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=15 -o ServerAliveCountMax=4
        "${hosts[$1]}" bash
    )
    # Nobody but the launcher may hold an input open, or it would not end with the launcher.
    for input in "${inputs[@]}"; do exec {input}>&-; done
    "${shell[@]}" 2>&1 {ended}>&- | while IFS= read -r line || [[ $line ]]; do printf '[%d] %s\n' "$1" "$line"; done
    echo "$1 ${PIPESTATUS[0]}" >&"$ended"
}

meaning() { # STATUS
    if [[ $1 == 255 && ! $count ]]; then
        echo " (ssh could not connect, or the connection broke)"
    elif (($1 > 128 && $1 < 160)); then
        echo " (SIG$(kill -l "$(($1 - 128))"))"
    fi
}

count='' port='' folder=$PWD grace=120 names=() hosts=()
while getopts :n:H:f:p:d:e:g:h option; do
    case $option in
        n) count=$OPTARG ;;
        H) IFS=, read -ra hosts <<<"$OPTARG" ;;
        f)
            [[ -r $OPTARG ]] || fail "no file $OPTARG"
            while read -r host _ || [[ $host ]]; do [[ ! ${host%%#*} ]] || hosts+=("${host%%#*}"); done <"$OPTARG"
            ((${#hosts[@]})) || fail "$OPTARG names no host"
            ;;
        p) port=$OPTARG ;;
        d) folder=$OPTARG ;;
        e)
            [[ ${!OPTARG+set} ]] || fail "-e $OPTARG: there is no such environment variable"
            names+=("$OPTARG")
            ;;
        g) grace=$OPTARG ;;
        h)
            usage
            exit
            ;;
        :) fail "-$OPTARG needs a value" ;;
        *) fail "unknown option -$OPTARG" ;;
    esac
done
command=("${@:OPTIND}")
((${#command[@]})) || fail "no command"
[[ $grace =~ ^[0-9]+$ ]] || fail "-g $grace is not a number of seconds"
if [[ $count ]]; then
    ((${#hosts[@]} == 0)) || fail "-n is for this host alone; -H or -f is for others"
    [[ $count =~ ^[1-9][0-9]*$ ]] || fail "-n $count is not a number of processes"
    for ((i = 0; i < count; i++)); do hosts+=(localhost); done
    # Below the ports that a system gives to outgoing connections.
    until [[ $port ]]; do
        port=$((20000 + RANDOM % 12000))
        if (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then port=''; fi
    done
    coordinator=127.0.0.1:$port
else
    ((${#hosts[@]})) || fail "-n, -H or -f says how many processes there are, and where"
    for host in "${hosts[@]}"; do [[ $host ]] || fail "a host without a name"; done
    coordinator=${hosts[0]#*@}:${port:-8476}
fi

asked=()
trap 'asked+=(TERM)' TERM
trap 'asked+=(INT)' INT
exec {ended}<> <(:) # a pipe without a name, as Linux can open one
inputs=()
set -m # process groups of their own: SIGINT from a terminal comes to the launcher alone, which hands it on
for i in "${!hosts[@]}"; do
    exec {input}<> <(:)
    inputs[i]=$input
    run "$i" </dev/fd/"$input" &
    script "$i" >&"$input"
done
set +m

first=0 handed_on=0 deadline=''
while ((${#inputs[@]})); do
    if read -r -t 0.5 i status <&"$ended"; then
        unset "inputs[i]"
        if ((status)); then
            echo "process $i (${hosts[i]}) ended with status $status$(meaning "$status")" >&2
            ((first)) || { first=$status deadline=$((SECONDS + grace)); }
        fi
    fi
    for (( ; handed_on < ${#asked[@]}; handed_on++)); do
        for i in "${!inputs[@]}"; do echo "${asked[handed_on]}" >&"${inputs[i]}"; done
    done
    if [[ $deadline ]] && ((SECONDS >= deadline)); then
        for i in "${!inputs[@]}"; do
            echo "process $i (${hosts[i]}) had $grace s to end and did not: killed" >&2
            echo KILL >&"${inputs[i]}"
        done
        deadline=''
    fi
done
exit "$first"
