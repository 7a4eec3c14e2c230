CREATE TABLE bookings (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    berth_id integer NOT NULL CONSTRAINT bookings_berth_exists REFERENCES berths (id),
    vessel_name text NOT NULL,
    vessel_length_cm integer NOT NULL CHECK (vessel_length_cm > 0),
    vessel_draught_cm integer NOT NULL CHECK (vessel_draught_cm > 0),
    starts_at timestamptz(3) NOT NULL,
    ends_at timestamptz(3) NOT NULL,
    created_at timestamptz(3) NOT NULL DEFAULT now(),
    CHECK (ends_at > starts_at),
    -- One vessel per berth at a time, whatever the application believes. The range is half-open, so a
    -- booking may start when another ends. The berth is a range of one number, because ranges have a
    -- GiST operator class of their own: no extension is needed (btree_gist would be for a plain integer).
    CONSTRAINT bookings_no_overlap EXCLUDE USING gist (
        int4range(berth_id, berth_id, '[]') WITH &&,
        tstzrange(starts_at, ends_at) WITH &&
    )
);

-- The list's order and its cursor, for all berths and for one.
CREATE INDEX bookings_by_start ON bookings (starts_at, id);
CREATE INDEX bookings_by_berth_and_start ON bookings (berth_id, starts_at, id);
