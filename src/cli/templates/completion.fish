function __provium_no_command
    test (count (commandline -opc)) -eq 1
end
function __provium_command
    set -l words (commandline -opc)
    test (count $words) -ge 2; and test $words[2] = $argv[1]; and not contains -- -- $words
end
complete -c provium -f
complete -c provium -n '__provium_command fixture' -a '(provium completion fixtures 2>/dev/null)'
