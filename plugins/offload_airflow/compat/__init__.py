"""Everything that differs between Airflow 2.11 and Airflow 3.

`v2` and `v3` hold modules of the same names with the same `__all__`, one set per version. The modules here choose: each
imports the names of the installed version, and adds what both versions share. `version` is the only place that asks
which version that is. The rest of `offload_airflow` imports the modules here, and never `v2`, `v3` or `version`.

    compat.sdk           Airflow's classes and exceptions for DAG files and tasks
    compat.context       what a task can learn about its run, and the notes that tasks leave
    compat.dag_runs      the runs of one DAG, and Airflow's backfills of it
    compat.health        the state of the scheduler and of a DAG
    compat.history       past cycles and scheduler restarts, for reports
    compat.secrets       Variables and Connections
    compat.mail          Airflow's e-mail
    compat.links, .site  addresses in Airflow's web interface, and the web server that shows the status page
    compat.plugin        what the plugin file needs
    compat.console       where the command's log lines go

`runs_base`, `backfill_steps` and `schedule` hold code that both versions share; only `v2` and `v3` import it.
"""
