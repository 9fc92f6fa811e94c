/*
 * module.c
 *	  The library's entry point.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "workflow_interrupt.h"

#ifdef PG_MODULE_MAGIC_EXT
PG_MODULE_MAGIC_EXT(.name = "workflow_interrupt",.version = WFI_VERSION);
#else
PG_MODULE_MAGIC;
#endif

extern PGDLLEXPORT void _PG_init(void);

/* Called when the library is loaded, by the postmaster or by a backend. */
void
_PG_init(void)
{
	wfi_settings_init();
	wfi_notify_init();
	wfi_store_init();

	/* what needs shared memory needs shared_preload_libraries */
	if (process_shared_preload_libraries_in_progress)
	{
		wfi_shmem_init();
		wfi_heartbeat_init();
		if (!IsBinaryUpgrade)
			wfi_launcher_register();
	}
	wfi_utility_hook_init();
}
