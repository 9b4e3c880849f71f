# Fills COMPREPLY with the words of a kind that begin with $cur.
_provium_kind() {
    local kind=$1
    shift
    case $kind in
    file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
    tests)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -d -- "$cur"; compgen -f -X '!*.lua' -- "$cur")
        ;;
    words) mapfile -t COMPREPLY < <(compgen -W "$*" -- "$cur") ;;
    none | '') ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$("${COMP_WORDS[0]}" completion "$kind" 2>/dev/null)" -- "$cur") ;;
    esac
}
_provium() {
    local cur=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} i
    COMPREPLY=()
    if [ "$COMP_CWORD" -le 1 ]; then
        _provium_kind words "$_provium_commands" --help --version
        return
    fi
    # --option=value comes as three words
    if [ "$cur" = = ]; then
        cur=
    elif [ "$option" = = ]; then
        option=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    for ((i = 2; i < COMP_CWORD; i++)); do
        [ "${COMP_WORDS[i]}" != -- ] || return # a command of the guest
    done
    # shellcheck disable=SC2046 # a kind and its words
    if [ -n "$(_provium_value "$command" "$option")" ]; then
        _provium_kind $(_provium_value "$command" "$option")
    elif [[ $cur == -* ]]; then
        _provium_kind words "$(_provium_options "$command")"
    elif [ "$command" = fixture ] && [ "$COMP_CWORD" -gt 2 ]; then
        _provium_kind fixtures
    else
        _provium_kind $(_provium_argument "$command")
    fi
}
complete -F _provium provium
