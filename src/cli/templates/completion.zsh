_provium_words() {
    local -a words_of_kind
    words_of_kind=(${(f)"$(provium completion $1 2>/dev/null)"})
    compadd -a words_of_kind
}
_provium() {
    if ((CURRENT == 2)); then
        _describe command _provium_commands
        return
    fi
    local command=$words[2]
    shift words
    ((CURRENT--))
    if [[ $command == fixture ]] && ((CURRENT > 2)); then
        _provium_words fixtures
        return
    fi
    _provium_command $command
}
if [[ $funcstack[1] == _provium ]]; then
    _provium "$@"
else
    compdef _provium provium
fi
