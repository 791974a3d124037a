#include "mp4/box.hpp"
