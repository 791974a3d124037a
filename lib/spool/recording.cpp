#include "spool/recording.hpp"
