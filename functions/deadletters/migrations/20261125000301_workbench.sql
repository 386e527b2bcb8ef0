-- migrate:up
ALTER TABLE dead_letters
    ADD COLUMN state text NOT NULL DEFAULT 'kept' CHECK (state IN ('kept', 'redriven', 'discarded')),
    ADD COLUMN version integer NOT NULL DEFAULT 1,
    -- The event as somebody changed it; the columns above stay as it came.
    ADD COLUMN edited_attributes jsonb,
    ADD COLUMN edited_data bytea,
    -- The last time it was sent again, and until when nobody else may do so.
    ADD COLUMN redrive_id uuid UNIQUE,
    ADD COLUMN redriving_until timestamptz;
CREATE INDEX dead_letters_state ON dead_letters (state, id);

CREATE TABLE dead_letter_attempts (
    letter_id uuid NOT NULL REFERENCES dead_letters ON DELETE CASCADE,
    -- What the attempts of one round have in common: when the Broker took the event, or the redrive.
    round text NOT NULL,
    -- Counted from 1 in each round; what a restarted dispatcher has forgotten is missing, and still counted.
    number integer NOT NULL,
    at timestamptz NOT NULL,
    destination text NOT NULL,
    code text,
    answer text,
    PRIMARY KEY (letter_id, round, number)
);

CREATE TABLE dead_letter_changes (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    letter_id uuid NOT NULL REFERENCES dead_letters ON DELETE CASCADE,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    what text NOT NULL CHECK (what IN ('edited', 'redriven', 'failed-again', 'discarded')),
    who text NOT NULL,
    why text,
    -- The event before and after an edit, in the JSON event format.
    before bytea,
    after bytea
);
CREATE INDEX dead_letter_changes_of ON dead_letter_changes (letter_id, seq);

-- A refused event stood wrapped in the event that tells of it: what is kept from now on is the refused event itself.
DO $$
DECLARE
    letter dead_letters;
    -- Not jsonb, which would write the event's data anew: an inbox takes other bytes for another event.
    told json;
    event json;
BEGIN
    FOR letter IN SELECT * FROM dead_letters WHERE kind = 'refused' LOOP
        BEGIN
            told := convert_from(letter.data, 'UTF8')::json;
            event := told -> 'event';
            UPDATE dead_letters
            SET source = event ->> 'source',
                event_id = event ->> 'id',
                type = event ->> 'type',
                subject = event ->> 'subject',
                destination = told ->> 'function',
                code = 'refused',
                answer = told ->> 'reason',
                attributes = event::jsonb - 'data' - 'data_base64',
                data = CASE
                    WHEN event ->> 'data_base64' IS NOT NULL THEN decode(event ->> 'data_base64', 'base64')
                    WHEN event -> 'data' IS NOT NULL THEN convert_to((event -> 'data')::text, 'UTF8')
                    ELSE ''
                END
            WHERE id = letter.id;
        EXCEPTION WHEN others THEN
            -- Anybody may have sent such an event: what is none of ours stays as it came.
            RAISE NOTICE 'dead letter % stays as it came: %', letter.id, SQLERRM;
        END;
    END LOOP;
END $$;
UPDATE dead_letters
SET attributes = attributes - 'knativeerrordest' - 'knativeerrorcode' - 'knativeerrordata';
INSERT INTO dead_letter_attempts (letter_id, round, number, at, destination, code, answer)
SELECT id, 'kept', 1, received_at, destination, code, answer FROM dead_letters;

-- migrate:down
DROP TABLE dead_letter_changes;
DROP TABLE dead_letter_attempts;
DROP INDEX dead_letters_state;
ALTER TABLE dead_letters
    DROP COLUMN state, DROP COLUMN version, DROP COLUMN edited_attributes, DROP COLUMN edited_data,
    DROP COLUMN redrive_id, DROP COLUMN redriving_until;
