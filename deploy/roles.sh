#!/bin/sh
# Creates the two roles when the postgres image creates its cluster: offers_owner owns and migrates the
# database, offers_app is the service and may only connect until the migrations grant it more. Neither may
# create roles: whoever may, can become the superuser of a PostgreSQL 15.
set -eu

psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d postgres \
    -v owner_password="$OFFERS_OWNER_PASSWORD" -v app_password="$OFFERS_APP_PASSWORD" <<'END'
create role offers_owner login password :'owner_password';
create role offers_app login password :'app_password';
create database offers owner offers_owner encoding 'UTF8' template template0;
revoke all on database offers from public;
grant connect on database offers to offers_app;
END
