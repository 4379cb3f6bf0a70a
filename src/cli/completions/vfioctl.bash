# Completion of vfioctl for bash; goes to /usr/share/bash-completion/completions/vfioctl.
#
# The script that clap_complete makes (COMPLETE=bash vfioctl) cannot complete PCI addresses: bash
# breaks words at ':' (COMP_WORDBREAKS), so 0000:01<Tab> arrives as three words. Changing
# COMP_WORDBREAKS would change every other program's completion, so the words are joined again
# here, and from each answer the part is cut off that bash believes to stand there already.

_vfioctl()
{
    local line="${COMP_LINE:0:COMP_POINT}"
    local -a words=()
    local index=-1 i word rest=$line

    # Joins what bash has broken: a piece that follows the one before without a space between
    # belongs to the same word.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        ((i == COMP_CWORD)) && word=${word:0:${#rest}}
        if ((i > 0)) && [[ -n $word && $rest == "$word"* ]]; then
            words[index]+=$word
        else
            rest=${rest#"${rest%%[![:space:]]*}"}
            index=$((index + 1))
            words[index]=$word
        fi
        rest=${rest#"$word"}
    done
    # The cursor stands behind a space: a new word begins.
    if [[ $line == *[[:space:]] && -n ${words[index]} && -z $rest || $rest == [[:space:]]* ]]; then
        index=$((index + 1))
        words[index]=
    fi

    local IFS=$'\013'
    COMPREPLY=($(
        _CLAP_IFS="$IFS" \
        _CLAP_COMPLETE_INDEX="$index" \
        _CLAP_COMPLETE_COMP_TYPE="$COMP_TYPE" \
        _CLAP_COMPLETE_SPACE=false \
        COMPLETE=bash \
        "${COMP_WORDS[0]}" -- "${words[@]}" 2>/dev/null
    )) || { COMPREPLY=(); return; }

    # What bash takes for the current word begins behind the last character that breaks words.
    local current=${words[index]} breaks= known
    [[ $COMP_WORDBREAKS == *:* ]] && breaks+=:
    [[ $COMP_WORDBREAKS == *=* ]] && breaks+==
    if [[ -n $breaks && $current == *["$breaks"]* ]]; then
        known=${current%"${current##*["$breaks"]}"}
        COMPREPLY=("${COMPREPLY[@]#"$known"}")
    fi
    [[ ${COMPREPLY-} == *[=/:] ]] && compopt -o nospace 2>/dev/null
}

complete -o bashdefault -o nosort -F _vfioctl vfioctl
