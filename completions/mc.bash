# shellcheck shell=bash
# Completion for every mc- tool. The options come from the tool's own --help, so they are always those of the installed version.

_mc_tool() {
  local word=${COMP_WORDS[COMP_CWORD]} tool=${COMP_WORDS[0]} subcommand='' help i
  COMPREPLY=()
  help=$("$tool" --help 2>/dev/null </dev/null) || return
  local -a commands
  mapfile -t commands < <(sed -n '/^Subcommands:/,$s/^  \([a-z][a-z-]*\)\( .*\)\{0,1\}$/\1/p' <<<"$help")
  for ((i = 1; i < COMP_CWORD; i++)); do
    [[ " ${commands[*]} " != *" ${COMP_WORDS[i]} "* ]] || subcommand=${COMP_WORDS[i]}
  done
  if [[ $word == -* ]]; then
    [[ -z $subcommand ]] || help+=$'\n'$("$tool" "$subcommand" --help 2>/dev/null </dev/null)
    mapfile -t COMPREPLY < <(compgen -W "$(grep -oE '^ +-[^ ]*' <<<"$help" | tr -d ' ' | tr ',' '\n' | sort -u)" -- "$word")
  elif [[ ${COMP_WORDS[COMP_CWORD - 1]} == --progress ]]; then
    mapfile -t COMPREPLY < <(compgen -W 'auto always never' -- "$word")
  elif [[ ${#commands[@]} -gt 0 && -z $subcommand ]]; then
    mapfile -t COMPREPLY < <(compgen -W "${commands[*]}" -- "$word")
  fi
}

complete -o default -o bashdefault -F _mc_tool mc-capture mc-mux mc-spool mc-push mc-verify mc-serve mc-join mc-direct mc-guest
