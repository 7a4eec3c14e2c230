# Prints since when each pin stands in the repository, a date a line; an empty one where that is not known.
# Usage: sh since.sh QUERIES, two lines each: the pin, or nothing for the whole file; and the file
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
