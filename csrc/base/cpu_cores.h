// Cores of this machine, one implementation for each operating system.
#pragma once

namespace tritium {

// Performance cores that this process may run on, hyper-threads counted once; 0 if unknown.
int performance_cores();

// Cores' worth of time that the container grants this process, rounded up; 0 if it sets no limit.
int granted_cores();

}  // namespace tritium
