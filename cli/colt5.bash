# SPDX-License-Identifier: MIT
# bash completion for colt5(1). Commands and options are asked of the program itself.

# The lines of a help text that begin a command or an option: "--format md|csv|json".
_colt5_help() {
    colt5 "$@" --help 2>/dev/null | sed -n 's/^  \(-*[a-z][^ ]*\( [^ ]*\)\{0,1\}\).*/\1/p'
}

# The operand that an option wants, "" for none: FILE, md|csv|json.
_colt5_operand() {
    _colt5_help "$1" | awk -v option="$2" '$1 == option { print $2 }'
}

_colt5() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local command=${COMP_WORDS[1]} operand=
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_colt5_help | awk '{ print $1 }') --help --version" \
            -- "$current")
        return
    fi
    case $previous in
        --device)
            mapfile -t COMPREPLY < <(compgen -W "gpu cpu" -- "$current")
            return
            ;;
        --dtype)
            mapfile -t COMPREPLY < <(compgen -W "f32 f16 bf16" -- "$current")
            return
            ;;
        --preset)
            mapfile -t COMPREPLY < <(compgen -W "tiny small" -- "$current")
            return
            ;;
        --math)
            mapfile -t COMPREPLY < <(compgen -W "strict fast" -- "$current")
            return
            ;;
        --*) operand=$(_colt5_operand "$command" "$previous") ;;
    esac
    if [ "$operand" != "${operand#*|}" ] || [ "$operand" = mean ]; then
        mapfile -t COMPREPLY < <(compgen -W "${operand//|/ }" -- "$current")
    elif [ -z "$operand" ] && [ "${current#-}" != "$current" ]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_colt5_help "$command" |
            awk '/^--/ { print $1 }')" -- "$current")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    fi
}
complete -o filenames -F _colt5 colt5
