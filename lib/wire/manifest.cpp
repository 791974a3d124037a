#include "wire/manifest.hpp"
