#!/bin/sh
# Builds what is released, from the commit that is checked out. The same commit, compiler and C library give the same
# bytes, in whatever directory.
#
#   deploy/release.sh DIRECTORY      (./dev release does it in target/released)
#
#   offers           the program, without what only debuggers need; it needs the C library alone
#   offers.debug     the rest, for backtraces and profiles with names: to be put beside the program
#   rootfs, .tar     all that an image needs: the program, its libraries, certificates, a user
#   sbom.cdx.json    every crate in the program, as CycloneDX
#   SHA256SUMS       of all of these
#
# The Dockerfile calls it as well. Without git it takes OFFERS_BUILD_COMMIT and SOURCE_DATE_EPOCH (seconds since 1970).
set -eu
umask 022

cyclonedx_version=0.5.9
user_id=10001

root=$(cd "$(dirname "$0")/.." && pwd)
out=${1:?"usage: deploy/release.sh DIRECTORY"}

die() {
    printf 'error: %s\n' "$*" >&2
    exit 2
}

for program in cargo objcopy ldd tar sha256sum; do
    command -v "$program" >/dev/null || die "$program is not installed"
done
[ "$(uname)" = Linux ] || die "releases are built on Linux"

if git -C "$root" rev-parse --git-dir >/dev/null 2>&1; then
    [ -z "$(git -C "$root" status --porcelain)" ] || die "commit your changes first: a release is built from a commit"
    OFFERS_BUILD_COMMIT=$(git -C "$root" rev-parse --short=12 HEAD)
    SOURCE_DATE_EPOCH=$(git -C "$root" log -1 --format=%ct)
fi
OFFERS_BUILD_COMMIT=${OFFERS_BUILD_COMMIT:-unknown}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-0}
export OFFERS_BUILD_COMMIT SOURCE_DATE_EPOCH

mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$root"

# No path of this machine in the program.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
RUSTFLAGS="--remap-path-prefix=$root=/offers --remap-path-prefix=$cargo_home=/cargo" CARGO_INCREMENTAL=0 \
    cargo build --profile dist --locked --bin offers

target=${CARGO_TARGET_DIR:-target}
cp "$target/dist/offers" "$out/offers"
cd "$out"
objcopy --only-keep-debug offers offers.debug
objcopy --strip-all --add-gnu-debuglink=offers.debug offers

# --- what an image needs ----------------------------------------------------------------------------
rm -rf rootfs
mkdir -p rootfs/usr/local/bin rootfs/etc/ssl/certs rootfs/tmp
chmod 1777 rootfs/tmp
cp offers rootfs/usr/local/bin/offers
ldd offers | awk '$2 == "=>" { print $3 } $1 ~ /^\// { print $1 }' | while read -r library; do
    mkdir -p "rootfs$(dirname "$library")"
    cp -L "$library" "rootfs$library"
done
# The activation system and partners' callbacks are reached over TLS.
certificates=/etc/ssl/certs/ca-certificates.crt
[ -s "$certificates" ] || die "$certificates is missing: install ca-certificates"
cp -L "$certificates" "rootfs$certificates"
printf 'offers:x:%s:%s::/nonexistent:/usr/sbin/nologin\n' "$user_id" "$user_id" >rootfs/etc/passwd
printf 'offers:x:%s:\n' "$user_id" >rootfs/etc/group
printf 'hosts: files dns\n' >rootfs/etc/nsswitch.conf
tar --create --file rootfs.tar --sort=name --format=ustar --mtime="@$SOURCE_DATE_EPOCH" \
    --owner=0 --group=0 --numeric-owner --directory rootfs .

# --- what is in it ----------------------------------------------------------------------------------
tools=$root/target/tools
if [ ! -x "$tools/bin/cargo-cyclonedx" ]; then
    cargo install --quiet --locked --root "$tools" "cargo-cyclonedx@$cyclonedx_version" ||
        die "cargo-cyclonedx $cyclonedx_version cannot be installed: is crates.io within reach?"
fi
# It writes beside each Cargo.toml.
cd "$root"
trap 'cd "$root" && rm -f sbom.cdx.json domain/sbom.cdx.json projections/sbom.cdx.json' EXIT
PATH="$tools/bin:$PATH" cargo cyclonedx --quiet --format json --spec-version 1.5 --no-build-deps --override-filename sbom.cdx
sed "s|file://$root|file:///offers|g" sbom.cdx.json >"$out/sbom.cdx.json"

cd "$out"
sha256sum offers offers.debug rootfs.tar sbom.cdx.json >SHA256SUMS
printf 'commit %s in %s\n' "$OFFERS_BUILD_COMMIT" "$out" >&2
cat SHA256SUMS
