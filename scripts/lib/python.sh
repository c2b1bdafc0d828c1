# Pinned Python packages in a folder of their own.

# python_packages FOLDER PACKAGE==VERSION…: installs them into a virtual environment, once.
python_packages() {
  local folder=$1 wanted
  shift
  wanted=$(printf '%s\n' "$@")
  [[ -r $folder/.packages && $(<"$folder/.packages") == "$wanted" ]] && return
  command -v python3 >/dev/null || return 1
  rm -rf "$folder"
  python3 -m venv "$folder" &&
    "$folder/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: "$@" &&
    echo "$wanted" >"$folder/.packages"
}
