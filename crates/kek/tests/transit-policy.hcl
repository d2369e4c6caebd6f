# What a coordinator may do with the key `kek` of the transit engine at `transit/`.
path "transit/keys/kek" {
  capabilities = ["read"]
}
path "transit/encrypt/kek" {
  capabilities = ["update"]
}
path "transit/decrypt/kek" {
  capabilities = ["update"]
}
