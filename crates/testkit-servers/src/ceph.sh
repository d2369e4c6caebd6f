# One monitor, one manager, one disk in memory and a gateway that speaks S3, all on loopback, in the foreground.
# Usage: ceph.sh MONITOR_PORT GATEWAY_PORT KEY SECRET KMS_KEY    (in a directory of its own)
set -eu
monitor=$1 gateway=$2 key=$3 secret=$4 kms=$5
mkdir -p mon mgr osd gateway run log
fsid=$(cat /proc/sys/kernel/random/uuid)
cat >ceph.conf <<END
[global]
fsid = $fsid
mon host = [v2:127.0.0.1:$monitor]
public network = 127.0.0.0/8
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon warn on pool no redundancy = false
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail crit = 1
mon data avail warn = 2
auth allow insecure global id reclaim = false
run dir = $PWD/run
admin socket = $PWD/run/\$name.asok
pid file = $PWD/run/\$name.pid
log file = $PWD/log/\$name.log
keyring = $PWD/keyring
[mon]
mon data = $PWD/mon
keyring = $PWD/mon.keyring
[mgr]
mgr data = $PWD/mgr
[osd]
osd data = $PWD/osd
osd objectstore = memstore
memstore device bytes = 4294967296
[client.rgw.a]
rgw data = $PWD/gateway
rgw frontends = beast endpoint=127.0.0.1:$gateway tcp_nodelay=1
rgw crypt require ssl = false
rgw crypt s3 kms backend = testing
rgw crypt s3 kms encryption keys = $kms=$(head -c 32 /dev/urandom | base64 -w 0)
END
ceph-authtool -C keyring --gen-key -n client.admin \
  --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
ceph-authtool keyring --gen-key -n mgr.x --cap mon 'allow profile mgr' --cap osd 'allow *'
ceph-authtool keyring --gen-key -n osd.0 --cap mon 'allow profile osd' \
  --cap mgr 'allow profile osd' --cap osd 'allow *'
ceph-authtool keyring --gen-key -n client.rgw.a \
  --cap mon 'allow rw' --cap osd 'allow rwx' --cap mgr 'allow rw'
ceph-authtool -C mon.keyring --gen-key -n mon. --cap mon 'allow *'
ceph-authtool mon.keyring --import-keyring keyring
monmaptool --create --fsid "$fsid" --addv a "[v2:127.0.0.1:$monitor]" monmap
ceph-mon -i a --mkfs --monmap monmap --keyring mon.keyring -c ceph.conf
ceph-mon -f -i a -c ceph.conf &
ceph() { command ceph -c ceph.conf --connect-timeout 20 "$@"; }
until ceph -s; do sleep 0.2; done
ceph-mgr -f -i x -c ceph.conf &
uuid=$(cat /proc/sys/kernel/random/uuid)
ceph osd new "$uuid"
ceph-osd -i 0 --mkfs --osd-uuid "$uuid" -c ceph.conf
ceph-osd -f -i 0 -c ceph.conf &
until ceph osd stat | grep -q '1 up'; do sleep 0.2; done
radosgw-admin -c ceph.conf -n client.rgw.a user create --uid=app --display-name=app \
  --access-key="$key" --secret="$secret"
exec radosgw -f -n client.rgw.a -c ceph.conf
