# Prints the date on which each pin came into the repository, one per line; an empty line where it is unknown.
# Usage: sh since.sh QUERIES. A query is two lines: the pin (empty: the last change of the file), and the file.
set -eu
shallow=$(git rev-parse --is-shallow-repository)
while IFS= read -r pin && IFS= read -r file; do
  if [ "$shallow" = true ] || [ -z "$file" ]; then
    echo
  elif [ -n "$pin" ]; then
    git log -1 --format=%cs -S"$pin" -- "$file" | grep . || echo
  else
    git log -1 --format=%cs -- "$file" | grep . || echo
  fi
done < "$1"
