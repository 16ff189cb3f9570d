#!/usr/bin/env bash
# Builds the container image of the Dockerfile with buildah: with no daemon and no registry, since the
# base is made of Debian's packages (BUILD_BASE and RUNTIME_BASE name others). As root.
#
#   tools/image.sh base           makes the base and prints its name
#   tools/image.sh build          builds the image on it and prints its name; DEVICE=cpu|cuda
#   tools/image.sh save FOLDER    also writes there the image for `docker load` and its SBOM
#   tools/image.sh unpack IMAGE FOLDER   the files of an image in the storage
#   tools/image.sh buildah ...    buildah, with that storage
set -euo pipefail
cd "$(dirname "$0")/.."

readonly folder=$PWD/build/image
readonly log=$folder/build.log
readonly buildah=(buildah --root "$folder/storage" --runroot "$folder/run")
readonly device=${DEVICE:-cpu}
readonly version=$(sed -n 's/^project(peerage VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
readonly image=localhost/peerage:$version-$device
readonly base=localhost/debian:bookworm-slim
readonly build_base=localhost/debian-for-builds:bookworm-slim
readonly base_minutes=1440  # how old the base's packages may be

# What Debian's own slim images leave out.
readonly slim=(
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright'
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/info/*'
  --dpkgopt='path-exclude=/usr/share/locale/*')

# In a mount namespace of its own: what buildah mounts is gone when it ends, however it ends.
run_buildah() {
  unshare --mount "${buildah[@]}" "$@"
}

# commit_image NAME FROM FILE TARGET [NAME=VALUE]: FROM with a file (an archive is unpacked), and a
# variable of the environment.
commit_image() {
  local container
  container=$(run_buildah from --pull-never "$2")
  run_buildah add --quiet "$container" "$3" "$4"
  (($# < 5)) || run_buildah config --env "$5" "$container"
  run_buildah commit --quiet --rm "$container" "$1"
}

make_base() {
  local cert
  [[ -z $(find "$folder/base.stamp" -mmin -$base_minutes 2>/dev/null) ]] || return 0
  mmdebstrap --variant=minbase --include=usr-is-merged "${slim[@]}" \
    --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr bookworm "$folder/base.tar"
  commit_image "$base" scratch "$folder/base.tar" /
  rm "$folder/base.tar"
  # Behind a proxy with a certificate of its own, pip in the build needs what pip needs here.
  cert=${PIP_CERT:-$(build/deps/venv/bin/pip config get global.cert 2>/dev/null || true)}
  if [[ -n $cert ]]; then
    commit_image "$build_base" "$base" "$cert" /etc/ssl/pip.pem PIP_CERT=/etc/ssl/pip.pem
  else
    run_buildah tag "$base" "$build_base"
  fi
  touch "$folder/base.stamp"
}

# Isolation by chroot asks nothing of the machine but root; docker's format keeps HEALTHCHECK. No layer is
# kept for the next build: buildah would take an old one for a new package and new labels.
build_image() {
  local source
  source=$(git remote get-url origin 2>/dev/null | grep '^https://') || source=unknown
  run_buildah bud --isolation chroot --format docker --pull-never --tag "$image" \
    --build-arg BUILD_BASE="${BUILD_BASE:-$build_base}" \
    --build-arg RUNTIME_BASE="${RUNTIME_BASE:-$base}" --build-arg DEVICE="$device" \
    --build-arg VERSION="$version" --build-arg SOURCE="$source" \
    --build-arg REVISION="$(git rev-parse HEAD 2>/dev/null || echo unknown)" .
  run_buildah rm --all  # what an interrupted build left
  run_buildah rmi --prune
}

# logged COMMAND...: one line of why when it fails.
logged() {
  local status
  mkdir -p "$folder"
  set +e
  (
    set -e
    "$@"
  ) >"$log" 2>&1
  status=$?
  set -e
  ((status != 0)) || return 0
  tail -n 5 "$log" >&2
  echo "image.sh: $1 failed (everything it said: $log)" >&2
  exit 1
}

build() {
  logged make_base
  logged build_image
  echo "$image"
}

# unpack IMAGE FOLDER
unpack() {
  local container
  container=$(run_buildah from --pull-never "$1")
  mkdir -p "$2"
  unshare --mount bash -ec 'root=$("${@:2}"); cp -a "$root/." "$1"' _ "$2" \
    "${buildah[@]}" mount "$container"
  run_buildah rm "$container" >/dev/null
}

# What dpkg knows of the image, which is all of it.
write_sbom() {
  local root
  root=$(mktemp -d "$folder/root.XXXXXX")
  unpack "$image" "$root"
  build/deps/image-venv/bin/debsbom generate --root "$root" --sbom-type spdx --validate --with-licenses \
    --distro-name Peerage --distro-version "$version" --out "$1" >>"$log" 2>&1
  rm -rf "$root"
}

save() {
  local name=$1/peerage-$version-$device
  build
  mkdir -p "$1"
  rm -f "$name.tar"
  run_buildah push --quiet "$image" "docker-archive:$name.tar:peerage:$version-$device"
  write_sbom "$name"
  ls "$name".*
}

if ((EUID != 0)); then
  echo "image.sh: only root can do this here; docker build and podman build need no root" >&2
  exit 1
fi
case ${1:-} in
  base) logged make_base; echo "$base" ;;
  build) build ;;
  save) save "$2" ;;
  unpack) unpack "$2" "$3" ;;
  buildah) run_buildah "${@:2}" ;;
  *) sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
