#include "wire/protocol.hpp"
