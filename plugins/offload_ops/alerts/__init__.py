"""Who is told what of late, failing and halted tables: `news` decides, `memory` remembers what was told, `message` words it."""
