# shellcheck shell=bash
# What scripts/run, scripts/test and scripts/bench have in common: they install what is missing and
# build. To be sourced from the root of the repository.
#
# Nothing is downloaded but packages, by apt and by cargo, from where the machine's own
# configuration has them. Where something is missing and cannot be installed, the caller ends with
# status 2 and the reason.

# The oldest Rust that compiles this; Cargo.toml says the same ('rust-version').
readonly rust_minor=90

say() { printf '\n== %s\n' "$*" >&2; }

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 2
}

# need_packages NAME...: installs the Debian packages that are missing.
need_packages() {
	local known name missing=()
	if ! command -v dpkg-query apt-get >/dev/null; then
		echo "this is not Debian; what is needed has these names there: $*" >&2
		return 0
	fi
	# It fails where it does not know one of the names, and answers for the others all the same.
	known=$(dpkg-query -W -f ' ${db:Status-Abbrev}:${Package} ' "$@" 2>/dev/null) || :
	for name; do
		[[ $known == *" ii :$name "* ]] || missing+=("$name")
	done
	((${#missing[@]})) || return 0
	((EUID == 0)) ||
		die "these packages are missing, and installing them takes root:" \
			"sudo apt-get install --no-install-recommends ${missing[*]}"
	say "installing ${missing[*]}"
	# The lists may be absent (a fresh machine) or old, naming what the mirror has no longer.
	install_packages "${missing[@]}" 2>/dev/null ||
		{ apt-get update -qq && install_packages "${missing[@]}"; } ||
		die "apt-get could not install ${missing[*]}"
}

# Nothing that somebody installed is removed for us: where two packages conflict, apt-get says so.
install_packages() {
	DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends --no-remove \
		-o Dpkg::Use-Pty=0 "$@" >/dev/null
}

# need_rust [EXTRA...]: a Rust that is new enough; the one that is there, or Debian's. Debian 12's
# own is too old, but it has a newer one beside it, kept up for web browsers: those are the names
# with 'web'. EXTRA packages go with that one only.
need_rust() {
	# What links programs, and what trusts the registry's certificate.
	need_packages gcc libc6-dev ca-certificates
	if ! has_rust; then
		need_packages cargo-web rustc-web
		has_rust || PATH=/usr/bin:$PATH
		has_rust || die "Rust 1.$rust_minor or newer is needed, and here is '$(cargo --version 2>&1)'"
	fi
	[[ $(type -P cargo) != /usr/bin/cargo ]] || need_packages "$@"
}

has_rust() {
	local version
	hash -r
	version=$(cargo --version 2>/dev/null) || return 1
	[[ $version =~ ^cargo\ 1\.([0-9]+)\. ]] && ((BASH_REMATCH[1] >= rust_minor))
}

# need_protoc: what building with the feature 'etcd' (vfioctl-store/etcd) takes besides: the compiler
# of protocol buffers, and the descriptions of its own types, which is a package by itself.
need_protoc() {
	need_packages protobuf-compiler libprotobuf-dev
}

# The programs of the product, in target/release; as Product::build of the lab builds them.
build_product() {
	need_protoc
	say 'building vfioctl (some minutes the first time)'
	cargo build --locked --release --workspace --exclude vfioctl-tests \
		--exclude vfioctl-simulation --features vfioctl-host/etcd ||
		die 'vfioctl does not build; the reason stands above'
}

# The lab's image: some 65 s where all is to be fetched, nothing where it is there.
build_lab() {
	tests/lab/build >/dev/null && return
	((EUID == 0)) || die "the lab cannot be built; building it takes root: sudo $0"
	die 'the lab cannot be built; the reason stands above'
}
