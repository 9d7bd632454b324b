# A host as people have them: sshd, Python, nftables, sudo; systemd for those that start it. Three users:
# root (key), deploy (key, sudo without a password), ops (key or password, sudo with its password).
FROM debian:bookworm-slim
ARG OPS_PASSWORD
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
    systemd systemd-sysv dbus openssh-server python3 nftables iproute2 iputils-ping procps sudo ca-certificates \
 && apt-get clean && rm -rf /var/lib/apt/lists/* /etc/ssh/ssh_host_*
# What in a container only waits, or fails.
RUN systemctl mask getty.target console-getty.service systemd-udevd.service systemd-timesyncd.service \
    systemd-remount-fs.service dev-hugepages.mount sys-kernel-debug.mount \
 && mkdir -p /run/sshd \
 && printf 'HostKey /etc/ssh/ssh_host_ed25519_key\nUseDNS no\n' > /etc/ssh/sshd_config.d/fleet.conf
RUN useradd --create-home --uid 1001 --shell /bin/bash deploy \
 && useradd --create-home --uid 1002 --shell /bin/bash ops \
 && printf 'ops:%s\n' "$OPS_PASSWORD" | chpasswd \
 && printf 'deploy ALL=(ALL) NOPASSWD: ALL\nops ALL=(ALL) ALL\n' > /etc/sudoers.d/fleet
STOPSIGNAL SIGRTMIN+3
